from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.data.negatives import InBatch, NegativeSampler, Popularity, Uniform
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.losses import ranking as losses
from recsys_lightning.losses.ranking import Contrastive, info_nce
from recsys_lightning.models import memory
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.genre_gat import GenreGAT
from recsys_lightning.models.mf import MF
from recsys_lightning.models.popularity import Popularity as PopularityModel
from recsys_lightning.schema import Schema
from recsys_lightning.tasks import ranking
from recsys_lightning.tasks.evaluation import TopItems
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.worlds import MemorySource


def fit(task: Ranking, folder: Path, module: InteractionsDataModule | None = None, epochs: int = 8) -> Ranking:
    trainer(folder, max_epochs=epochs).fit(task, module or data())
    return task


@pytest.mark.parametrize("loss", [losses.BPR(), losses.BCE(), losses.SampledSoftmax(temperature=0.5, logq=True)])
@pytest.mark.parametrize("negatives", [Uniform(), Uniform(3), Popularity(2), InBatch()])
def test_every_loss_learns_the_blocks_with_every_sampler(
    tmp_path: Path, loss: losses.Loss, negatives: NegativeSampler
) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), batch_size=128)
    torch.manual_seed(0)
    task = Ranking(partial(MF, dim=8), loss, negatives, partial(torch.optim.Adam, lr=0.05), k=[5])
    fit(task, tmp_path, module, epochs=12)
    # a third of the items are of the own block: random lists of 5 reach .13, perfect knowledge of blocks about .4
    assert task.results["val/recall_5"] > 0.25


def test_masked_in_batch_negatives_are_the_users_own_positive(tmp_path: Path) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), batch_size=32)
    seen: list[tuple[Tensor, PairBatch]] = []

    class Spy(losses.Loss):
        def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
            seen.append((negative.detach(), batch))
            return losses.bpr(positive, negative)

    fit(Ranking(partial(MF, dim=4), Spy(), InBatch()), tmp_path, module, epochs=1)
    for negative, batch in seen:
        assert torch.equal(negative == -torch.inf, batch.negative[None] == batch.item[:, None])


def test_weight_decay_is_of_the_embeddings_of_the_batch(tmp_path: Path) -> None:
    module = data()
    plain, decayed = Ranking(partial(MF, dim=4)), Ranking(partial(MF, dim=4), weight_decay=0.1)
    batch = next(iter(module.train_dataloader()))
    terms = []
    for task in (plain, decayed):
        torch.manual_seed(0)
        task.build(module.schema)
        task._views = task._fitting_views = module.views
        task.log = lambda *_, **__: None  # type: ignore[method-assign]
        terms.append(task.training_step(batch, 0))
    state = decayed.recommender.encode(module.views)
    penalty = decayed.recommender.penalty(state, batch.user, batch.item, batch.negative)
    assert penalty > 0
    torch.testing.assert_close(terms[1] - terms[0], 0.1 * penalty)


def test_closed_forms_are_tested_without_training_and_not_fitted(tmp_path: Path) -> None:
    task = Ranking(partial(EASE, regularization=10.0), k=[5])
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.results["test/ndcg_5"] > 0.1
    with pytest.raises(InputError, match="closed form"):
        trainer(tmp_path, max_epochs=1).fit(Ranking(EASE), data())


def test_means_are_those_of_the_users(tmp_path: Path) -> None:
    task = Ranking(PopularityModel, k=[5, 10])
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.per_user is not None
    assert len(task.per_user.user) == task.results["test/users"]
    for name in ("recall_5", "ndcg_10"):
        assert task.results[f"test/{name}"] == pytest.approx(float(task.per_user.values[name].mean()), abs=1e-12)


@pytest.mark.parametrize(
    ("key", "message"),
    [("val/ndcg_10_sampled_5", "Monitor val/ndcg_10"), ("test/ndcg_10", "Monitor val/ndcg_10")],
)
def test_unsound_keys_cannot_be_monitored(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(tmp_path, callbacks=[EarlyStopping(key)]).fit(Ranking(MF, sampled=5), data())


def test_monitoring_val_without_val_rows_is_refused(tmp_path: Path) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random", val=0))
    with pytest.raises(InputError, match="no val rows"):
        trainer(tmp_path, callbacks=[EarlyStopping("val/ndcg_10")]).fit(Ranking(MF), module)


def test_sampled_metrics_carry_it_in_their_names(tmp_path: Path) -> None:
    task = Ranking(PopularityModel, k=[5], sampled=10)
    trainer(tmp_path).test(task, data(), verbose=False)
    assert task.results["test/ndcg_5_sampled_10"] > task.results["test/ndcg_5"]


def test_predict_ranks_unseen_items_only(tmp_path: Path) -> None:
    task, module = Ranking(PopularityModel, predict_k=7), data()
    batches = trainer(tmp_path).predict(task, module)
    known = module.prepared.csr("train", "val")
    users = 0
    for batch in batches or []:
        assert isinstance(batch, TopItems)
        assert (batch.score.diff() <= 0).all()
        for user, items in zip(batch.user, batch.item, strict=True):
            own = known.col[known.crow[user] : known.crow[user + 1]]
            assert not np.isin(items, own).any()
            users += 1
    assert users == module.schema.num_users


class Counting(MF):
    """Counts how often it is asked to encode."""

    calls = 0

    def encode(self, views: Views) -> Embeddings:
        type(self).calls += 1
        return super().encode(views)


def test_the_model_encodes_once_per_step_and_once_per_evaluation(tmp_path: Path) -> None:
    module = InteractionsDataModule(MemorySource(), Recipe(split="random"), batch_size=64, eval_batch_size=7)
    task = Ranking(partial(Counting, dim=4))
    Counting.calls = 0
    trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0).fit(task, module)
    steps = task.global_step
    assert Counting.calls == steps + 1


def test_cut_offs_are_checked() -> None:
    with pytest.raises(InputError, match=r"model\.k"):
        Ranking(MF, k=[])


@pytest.mark.parametrize("make", [lambda schema: MF(schema, dim=4)])
def test_any_callable_makes_the_recommender(tmp_path: Path, make: Callable[[Schema], MF]) -> None:
    assert fit(Ranking(make), tmp_path, epochs=1).recommender.user.shape[1] == 4


def test_a_model_that_knows_what_memory_it_needs_is_refused_where_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(ranking, "rank_zero_info", said.append)
    fit(Ranking(partial(MF, dim=4)), tmp_path, epochs=1)
    assert not said
    fit(Ranking(partial(GenreGAT, dim=4)), tmp_path, epochs=1)
    assert re.fullmatch(
        r"GenreGAT will take about so many MB of memory to train: parameters \d+, graph \d+, activations \d+, "
        r"total \d+\.",
        said.pop(),
    )
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    advice = r"Set model\.recommender\.fan_out, or take a smaller dim or fewer layers\."
    with pytest.raises(InputError, match=rf"^Training GenreGAT needs .* GB of memory on cpu, .*{advice}$"):
        fit(Ranking(partial(GenreGAT, dim=4)), tmp_path)


class TwoViews(MF):
    """Halves of the vectors as two views."""

    has_two_views = True

    def two_views(self, u: Tensor) -> tuple[Tensor, Tensor]:
        first, second = u.chunk(2, dim=-1)
        return first, second


def test_a_contrastive_loss_brings_the_views_of_a_user_together(tmp_path: Path) -> None:
    def gap(contrastive: Contrastive | None) -> float:
        task = fit(Ranking(partial(TwoViews, dim=4), contrastive=contrastive), tmp_path, epochs=5)
        user = torch.arange(60)
        return float(info_nce(*TwoViews.two_views(task.recommender, task.recommender.user.detach()), user))

    torch.manual_seed(0)
    apart = gap(None)
    torch.manual_seed(0)
    assert gap(Contrastive(weight=5.0)) < apart - 0.5


def test_a_contrastive_loss_is_refused_where_there_is_one_view(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"MF, as it is configured, has one view.*Leave model\.contrastive out"):
        fit(Ranking(partial(MF, dim=4), contrastive=Contrastive()), tmp_path, epochs=1)
