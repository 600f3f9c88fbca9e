from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.data.negatives import InBatch, NegativeSampler, Popularity, Uniform
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.losses import ranking as losses
from recsys_lightning.losses.ranking import Contrastive, info_nce
from recsys_lightning.models import memory
from recsys_lightning.models.genre_gat import GenreGAT
from recsys_lightning.models.mf import MF
from recsys_lightning.schema import Schema
from recsys_lightning.tasks import ranking
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
