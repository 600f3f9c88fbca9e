from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.callbacks.checkpoint import AtomicCheckpointIO, read_checkpoint
from recsys_lightning.data.graph_recipe import GraphRecipe
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.gat import GAT
from recsys_lightning.models.genre_gat import GenreGAT
from recsys_lightning.models.hybrid import HybridRecommender
from recsys_lightning.models.lightgcn import LightGCN
from recsys_lightning.models.mf import MF
from recsys_lightning.schema import SCHEMA_VERSION
from recsys_lightning.tasks.base import is_plain
from recsys_lightning.tasks.ranking import Ranking
from tests.worlds import MemorySource

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def data(seed: int = 0, **graph: Any) -> InteractionsDataModule:
    recipe = Recipe(split="random")
    return InteractionsDataModule(MemorySource(seed=seed), recipe, batch_size=64, graph=GraphRecipe(**graph))


def trainer(folder: Path, **options: object) -> Trainer:
    return Trainer(default_root_dir=folder, plugins=[AtomicCheckpointIO()], **{**QUIET, **options})


def trained(folder: Path, dim: int = 4, model: Callable[..., Recommender] = MF) -> Path:
    task = Ranking(partial(model, dim=dim))
    fit = trainer(folder, max_epochs=1, limit_train_batches=2)
    fit.fit(task, data())
    fit.save_checkpoint(folder / "trained.ckpt")
    return folder / "trained.ckpt"


def test_a_checkpoint_loads_without_the_data(tmp_path: Path) -> None:
    path = trained(tmp_path)
    task = Ranking.load_from_checkpoint(path, recommender=partial(MF, dim=4))
    stored = read_checkpoint(path)["state_dict"]
    assert torch.equal(task.recommender.user, stored["recommender.user"])
    assert task.schema == data().schema


def test_a_checkpoint_of_other_data_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    path = trained(tmp_path)
    other = data(seed=1)
    with pytest.raises(InputError) as caught:
        trainer(tmp_path).test(Ranking(partial(MF, dim=4)), other, ckpt_path=path)
    assert other.schema.fingerprint in str(caught.value)
    assert data().schema.fingerprint in str(caught.value)


GRAPHS: dict[str, dict[str, Any]] = {
    "shuffled": {"shuffle": 1},
    "without attributes": {"attributes": []},
    "weighed": {"weight": "recency"},
    "weighed otherwise": {"weight": "recency", "half_life": 30.0},
    "with features": {"features": ["length"]},
    "with context": {"context": ["length"]},
}


@pytest.mark.parametrize("model", [GAT, GenreGAT])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=list(GRAPHS))
def test_a_checkpoint_of_another_graph_is_refused_by_models_that_read_it(
    tmp_path: Path, model: type[Recommender], graph: dict[str, Any]
) -> None:
    path, other = trained(tmp_path, model=model), data(**graph)
    assert other.schema.fingerprint == data().schema.fingerprint
    with pytest.raises(InputError, match=r"another graph.*\n.*\n.*\nGive the options data\.graph of its run") as caught:
        trainer(tmp_path).test(Ranking(partial(model, dim=4)), other, ckpt_path=path)
    assert f"3 of genre, 0 features of items, edges weighed by none, digest {data().schema.graph}" in str(caught.value)
    assert f"edges weighed by {graph.get('weight', 'none')}, digest {other.schema.graph}" in str(caught.value)
    assert ("no attributes" in str(caught.value)) == ("attributes" in graph)
    assert ("What may differ is data.graph.shuffle, min_items, " in str(caught.value)) == ("attributes" not in graph)
    assert ("features, vectors, context, buckets or parents" in str(caught.value)) == ("attributes" not in graph)
    loaded = Ranking.load_from_checkpoint(path, recommender=partial(model, dim=4))
    with pytest.raises(InputError, match="another graph"):
        trainer(tmp_path).test(loaded, other)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=list(GRAPHS))
@pytest.mark.parametrize("model", [MF, LightGCN])
def test_other_models_keep_their_checkpoints_when_the_graph_changes(
    tmp_path: Path, model: type[Recommender], graph: dict[str, Any]
) -> None:
    path, results = trained(tmp_path, model=model), []
    for module in (data(), data(**graph)):
        task = Ranking(partial(model, dim=4))
        trainer(tmp_path).test(task, module, ckpt_path=path, verbose=False)
        results.append(task.results)
    assert results[0] == pytest.approx(results[1], abs=0, nan_ok=True)


def test_a_hierarchy_is_named_where_graphs_differ(tmp_path: Path) -> None:
    path = trained(tmp_path, model=GenreGAT)
    (tmp_path / "genres.csv").write_text("value,parent\nblock 0,blocks\nblock 1,blocks\n")
    other = data(parents={"genre": "genres.csv"})
    other.source.root = tmp_path
    with pytest.raises(InputError, match=r"4 of genre, parents of genre, 0 features"):
        trainer(tmp_path).test(Ranking(partial(GenreGAT, dim=4)), other, ckpt_path=path)


@pytest.mark.parametrize("model", [MF, partial(HybridRecommender, views="graph")], ids=["MF", "Hybrid"])
def test_a_checkpoint_is_good_for_histories_of_its_length_where_they_are_read(
    tmp_path: Path, model: Callable[..., Recommender]
) -> None:
    path, other = trained(tmp_path, model=model), data()
    other.history_length = 7
    task = Ranking(partial(model, dim=4))
    if model is MF:
        trainer(tmp_path).test(task, other, ckpt_path=path, verbose=False)
        return
    message = r"histories of 50 entries, and these data have histories of 7\. Set data\.history_length to 50, or"
    with pytest.raises(InputError, match=message):
        trainer(tmp_path).test(task, other, ckpt_path=path)
    trainer(tmp_path).test(Ranking(partial(model, dim=4)), data(), ckpt_path=path, verbose=False)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = trained(tmp_path)
    with pytest.raises(InputError, match=r"another network.*recommender\.item"):
        trainer(tmp_path).test(Ranking(partial(MF, dim=5)), data(), ckpt_path=path)


def test_a_checkpoint_of_an_older_layout_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = trained(tmp_path)
    content = read_checkpoint(path)
    content["schema"]["version"] = 0
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"version 0.*version {SCHEMA_VERSION}"):
        trainer(tmp_path).test(Ranking(partial(MF, dim=4)), data(), ckpt_path=path)


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = trained(tmp_path)
    content = read_checkpoint(path)
    del content["schema"]
    torch.save(content, path)
    with pytest.raises(InputError, match="no schema"):
        trainer(tmp_path).test(Ranking(partial(MF, dim=4)), data(), ckpt_path=path)


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_untrained_parameters_are_refused(tmp_path: Path, verb: str) -> None:
    with pytest.raises(InputError, match=f"untrained, so `{verb}`"):
        getattr(trainer(tmp_path), verb)(Ranking(partial(LightGCN, dim=4)), data())


def test_a_task_without_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs data"):
        trainer(tmp_path).fit(Ranking(MF), train_dataloaders=[torch.zeros(1)])


def test_looking_at_test_during_training_is_remembered(tmp_path: Path) -> None:
    task, module = Ranking(partial(MF, dim=4)), data()
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(task, module)
    fit.test(task, module, verbose=False)
    assert not task.looked_at_test
    fit.fit_loop.max_epochs = 2
    fit.fit(task, module)
    assert task.looked_at_test
    fit.save_checkpoint(tmp_path / "selected.ckpt")
    again = Ranking(partial(MF, dim=4))
    trainer(tmp_path).test(again, module, ckpt_path=tmp_path / "selected.ckpt", verbose=False)
    assert again.looked_at_test


@pytest.mark.parametrize(
    ("value", "plain"),
    [({"a": [1, 2.0, None, "x", True]}, True), (MF, False), ({"a": partial(MF)}, False), ({1: (2, MF)}, False)],
)
def test_is_plain(value: object, plain: bool) -> None:
    assert is_plain(value) is plain


def test_copies_that_know_nothing_of_one_another_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    task, fit = Ranking(partial(MF, dim=4)), trainer(tmp_path, max_epochs=1)
    task.trainer = fit
    with pytest.raises(InputError, match="torchrun started 2 processes, and the trainer knows of 1"):
        task.setup("fit")


class Drawing(Ranking):
    """Notes a random number of each batch."""

    drawn: list[float]

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("batches_of_a_step", [1, 3])
def test_each_batch_has_random_numbers_of_its_own(tmp_path: Path, batches_of_a_step: int) -> None:
    task = Drawing(partial(MF, dim=4))
    task.drawn = []
    trainer(tmp_path, max_epochs=2, accumulate_grad_batches=batches_of_a_step).fit(task, data())
    assert len(set(task.drawn)) == len(task.drawn) > 6
