from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule

from recsys_lightning.batches import PairBatch, UserDomainBatch, Vectors
from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.negatives import Uniform
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models import GAT, MF, DotProduct
from recsys_lightning.schema import TRAIN, VAL
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.evaluation import RankingTask
from recsys_lightning.tasks.ranking import Ranking
from tests.conftest import Recsys
from tests.tasks.test_base import trainer
from tests.worlds import DomainSource, MemorySource


def inner(seed: int = 0, **options: Any) -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(seed=seed), Recipe(split="random"), **options)


def written(
    folder: Path, data: InteractionsDataModule | None = None, seed: int = 0, rows: tuple[str, ...] = ("train",)
) -> Path:
    prepared = (data or inner()).prepared
    generator = torch.Generator().manual_seed(seed)
    user, item = (torch.randn(n, 4, generator=generator) for n in (prepared.num_users, prepared.num_items))
    write_vectors(folder / f"{seed}.safetensors", Vectors(user, item), prepared, "MF", rows=rows)
    return folder / f"{seed}.safetensors"


class Collecting(RankingTask):
    """Keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD, None, (10,), 0, 10)
        self.seen: list[Any] = []

    def build(self, schema: Any) -> None:
        self.recommender = MF(schema, dim=2)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch)
        return self.recommender.user.sum()


class CollectingPairs(Ranking):
    """Likewise, as the ranking task."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen = [*getattr(self, "seen", []), batch]
        return super().training_step(batch, batch_idx)


class OnPairs(Collecting):
    """Likewise, without negatives of its own."""

    trains_on = "pairs"


class OnUsers(Collecting):
    """Likewise, of users in domains, although it has negatives for something else."""

    negatives = Uniform()


def test_it_is_the_inner_data_with_vectors(tmp_path: Path) -> None:
    base = inner(eval_batch_size=7, history_length=3, graph=GraphRecipe(weight="recency"))
    data = EmbeddingDataModule(base, written(tmp_path), batch_size=9)
    data.setup("fit")
    assert data.source is base.source and (data.batch_size, data.eval_batch_size) == (9, 7)
    assert (data.schema.vector_width, data.schema.vectors) == (4, data.frozen.digest)
    plain = base.schema
    assert {**data.schema.to_dict(), "vector_width": 0, "vectors": ""} == plain.to_dict()
    assert torch.equal(data.views.train.col, base.views.train.col) and data.views.domain is not None
    assert torch.equal(data.views.vectors.item, data.frozen.vectors.item)
    assert data.views is data.views_of("train")
    assert EmbeddingDataModule(base, written(tmp_path), eval_batch_size=5).eval_batch_size == 5


def test_training_gets_every_user_once_a_domain(tmp_path: Path) -> None:
    data = EmbeddingDataModule(inner(), written(tmp_path), batch_size=16, negatives=5)
    task = Collecting()
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(task, data)
    assert all(isinstance(batch, UserDomainBatch) and batch.negative.shape[1] == 5 for batch in task.seen)
    users = int((data.views_of("train").train.degree > 0).sum())
    assert sum(len(batch.user) for batch in task.seen) == 2 * users
    assert {bool(value) for batch in task.seen for value in batch.known} == {True, False}


def test_data_of_one_domain_have_one_sample_a_user(tmp_path: Path) -> None:
    base = InteractionsDataModule(MemorySource(), Recipe(split="random"))
    (batch,) = EmbeddingDataModule(base, written(tmp_path, base)).user_loader(TRAIN)
    assert batch.known.all() and not batch.domain.any() and len(batch.user) == len(batch.user.unique())


def test_no_item_that_a_user_has_in_train_or_in_val_is_a_negative_in_val(tmp_path: Path) -> None:
    base = InteractionsDataModule(DomainSource(), Recipe(split="leave_last_out", val=3, test=1))
    data = EmbeddingDataModule(base, written(tmp_path, base), negatives=50)
    taken = data.prepared.known(TRAIN, VAL)
    pairs = set(zip(taken.row.tolist(), taken.col.tolist(), strict=True))
    for batch in data.user_loader(VAL):
        assert not pairs & {
            (user, item) for user, row in zip(batch.user.tolist(), batch.negative.tolist(), strict=True) for item in row
        }


def test_a_task_that_trains_on_users_in_domains_is_refused_where_there_are_pairs_alone(tmp_path: Path) -> None:
    match = r"Collecting trains on users in domains, and InteractionsDataModule gives pairs.*--data EmbeddingDataModule"
    with pytest.raises(InputError, match=match):
        trainer(tmp_path, max_epochs=1).fit(Collecting(), inner())


@pytest.mark.parametrize(("kind", "batch"), [(OnPairs, PairBatch), (OnUsers, UserDomainBatch)])
def test_what_a_task_trains_on_is_what_it_says(tmp_path: Path, kind: type[Collecting], batch: type) -> None:
    task = kind()
    data = EmbeddingDataModule(inner(), written(tmp_path))
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(task, data)
    assert task.seen and all(isinstance(one, batch) for one in task.seen)


def test_a_task_that_trains_on_pairs_gets_these(tmp_path: Path) -> None:
    task = CollectingPairs(partial(MF, dim=2))
    trainer(tmp_path, max_epochs=1).fit(task, EmbeddingDataModule(inner(), written(tmp_path)))
    assert task.seen and all(isinstance(batch, PairBatch) for batch in task.seen)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"negatives": 0}, "data.negatives is 0"), ({"batch_size": 0}, "data.batch_size is 0")],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        EmbeddingDataModule(inner(), tmp_path / "v", **options)


def test_vectors_on_vectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.interactions is an EmbeddingDataModule itself"):
        EmbeddingDataModule(EmbeddingDataModule(inner(), tmp_path / "v"), tmp_path / "v")


def test_vectors_of_other_data_are_refused_at_once(tmp_path: Path) -> None:
    data = EmbeddingDataModule(inner(seed=5), written(tmp_path))
    with pytest.raises(InputError, match="made of other data"):
        data.setup("fit")


@pytest.mark.parametrize("stage", ["fit", "validate"])
@pytest.mark.parametrize("test_views", ["train", "train+val"])
def test_vectors_that_know_val_rows_are_neither_trained_on_nor_selected_by(
    tmp_path: Path, stage: str, test_views: Any
) -> None:
    file = written(tmp_path, rows=("train", "val"))
    data = EmbeddingDataModule(inner(test_views=test_views), file)
    match = r"0\.safetensors was made with val rows in sight, as data\.test_views: train\+val.*test_views train\."
    with pytest.raises(InputError, match=match):
        data.setup(stage)


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_vectors_that_know_val_rows_are_tested_where_models_may_see_these(tmp_path: Path, stage: str) -> None:
    file = written(tmp_path, rows=("train", "val"))
    EmbeddingDataModule(inner(test_views="train+val"), file).setup(stage)
    with pytest.raises(InputError, match=r"val rows in sight.*test_views is train\..*or say test_views: train\+val"):
        EmbeddingDataModule(inner(), file).setup(stage)
    EmbeddingDataModule(inner(test_views="train+val"), written(tmp_path)).setup(stage)


def test_a_fit_on_vectors_of_val_rows_ends_before_it_begins(tmp_path: Path) -> None:
    """As a run does: predict with val rows in sight, then train on what was written."""
    task, seeing = Ranking(partial(MF, dim=4)), inner(test_views="train+val")
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, callbacks=[WriteVectors()])
    run.fit(task, seeing)
    run.predict(task, seeing)
    vectors = EmbeddingDataModule(inner(), tmp_path / WriteVectors.FILE)
    with pytest.raises(InputError, match="val rows in sight"):
        trainer(tmp_path, max_epochs=1).fit(Collecting(), vectors)
    trainer(tmp_path).test(Ranking(DotProduct), EmbeddingDataModule(seeing, tmp_path / WriteVectors.FILE))


def test_vectors_that_know_given_rows_are_as_good_as_the_views(tmp_path: Path) -> None:
    base = InteractionsDataModule(DomainSource(), Recipe(split="user_cold", shots=2))
    EmbeddingDataModule(base, written(tmp_path, base, rows=("train", "given"))).setup("fit")
    with pytest.raises(InputError, match="made with given rows in sight:"):
        EmbeddingDataModule(inner(), written(tmp_path, rows=("train", "given"))).setup("fit")


class OnVectors(MF):
    """Stands for a network that is trained on vectors."""

    reads_vectors = True


def test_a_checkpoint_of_other_vectors_is_refused(tmp_path: Path) -> None:
    fit = trainer(tmp_path, max_epochs=1, limit_train_batches=1)
    fit.fit(Ranking(partial(OnVectors, dim=2)), EmbeddingDataModule(inner(), written(tmp_path)))
    fit.save_checkpoint(path := tmp_path / "c.ckpt")

    def test(model: Any, data: InteractionsDataModule) -> None:
        trainer(tmp_path).test(Ranking(partial(model, dim=2)), data, ckpt_path=path, weights_only=True)

    test(OnVectors, EmbeddingDataModule(inner(), written(tmp_path)))
    others = EmbeddingDataModule(inner(), written(tmp_path, seed=1))
    with pytest.raises(InputError, match=r"other vectors[\s\S]*of 4 numbers, digest \w+[\s\S]*data\.vectors"):
        test(OnVectors, others)
    with pytest.raises(InputError, match=r"other vectors[\s\S]*given data: no vectors"):
        test(OnVectors, inner())
    test(MF, others)  # which does not look at them


def results(task: Task) -> dict[str, float]:
    assert isinstance(task, RankingTask)
    return {name: value for name, value in task.results.items() if "seconds" not in name}


@pytest.fixture
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield


@pytest.mark.usefixtures("_seed")
@pytest.mark.parametrize("model", [GAT, MF])
def test_the_dot_product_of_a_models_vectors_ranks_as_the_model_itself(tmp_path: Path, model: Any) -> None:
    task: LightningModule = Ranking(partial(model, dim=4))
    fit = trainer(tmp_path, max_epochs=2, callbacks=[WriteVectors()])
    fit.fit(task, inner())
    fit.test(task, inner())
    fit.predict(task, inner())
    vectors = EmbeddingDataModule(inner(), tmp_path / WriteVectors.FILE)
    frozen = Ranking(DotProduct)
    trainer(tmp_path).test(frozen, vectors)
    assert results(frozen) == results(task)  # type: ignore[arg-type]
    assert "test/ndcg_10_book" in results(frozen)


INNER = """\
class_path: MovieTweetings
init_args:
  recipe: {split: leave_last_out, val: 1, test: 1, user_core: 15}
"""
RUN = """\
data:
  class_path: EmbeddingDataModule
  init_args:
    interactions: %s
    vectors: %s
model: {class_path: Ranking, init_args: {recommender: DotProduct}}
"""


def test_the_command_line_takes_nested_data_as_a_file_beside_the_configuration(tmp_path: Path, recsys: Recsys) -> None:
    (tmp_path / "data.yaml").write_text(INNER)
    (tmp_path / "model.yaml").write_text(
        "data: data.yaml\n"
        "model: {class_path: Ranking, init_args: {recommender: {class_path: MF, init_args: {dim: 4}}}}\n"
    )
    fit = recsys(
        "fit", "--config", tmp_path / "model.yaml", "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 3
    )
    assert fit.status == 0, fit.err
    config = next((tmp_path / "runs").glob("*mf/version_0/config.yaml"))
    checkpoint = next(config.parent.glob("checkpoints/*.ckpt"))
    predict = recsys("predict", "--config", config, "--ckpt_path", checkpoint, "--trainer.callbacks+=WriteVectors")
    assert predict.status == 0, predict.err
    file = Path(predict.out.strip().splitlines()[-2])
    assert file.name == WriteVectors.FILE and predict.last_line.endswith("recommendations.parquet")

    (tmp_path / "run.yaml").write_text(RUN % ("data.yaml", file))
    shown = recsys("test", "--config", tmp_path / "run.yaml", "--print_config", "--data.negatives", 3)
    assert "recsys_lightning.datamodules.datasets.MovieTweetings" in shown.out and "user_core: 15" in shown.out
    test = recsys("test", "--config", tmp_path / "run.yaml")
    assert test.status == 0 and "DotProduct" in test.out and "movietweetings-dotproduct" in test.last_line, test.err

    other = recsys("test", "--config", tmp_path / "run.yaml", "--data.interactions.recipe.user_core", 16)
    assert other.status == 2 and "was made of other data" in other.err and "Traceback" not in other.err
    gone = recsys("test", "--config", tmp_path / "run.yaml", "--data.vectors", tmp_path / "gone.safetensors")
    assert gone.status == 2 and "There is no file" in gone.err
