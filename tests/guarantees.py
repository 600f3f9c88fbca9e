"""Models, data and runs that guarantees of an evaluation are tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.callbacks.results import WriteResults
from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.text.recipe import TextRecipe
from recsys_lightning.data.text.tfidf import TfidfSVD
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.losses.ranking import Loss, bpr
from recsys_lightning.models import EASE, GAT, GFCF, MF, GenreGAT, HybridRecommender, ItemKNN, LightGCN, Recommender
from recsys_lightning.models import Popularity as PopularityModel
from recsys_lightning.schema import SPLITS, Schema
from recsys_lightning.tasks.ranking import Ranking
from tests.data.memory import Memory, random_interactions
from tests.tasks.test_base import trainer

MODELS: dict[str, Callable[[Schema], Recommender]] = {
    "Popularity": PopularityModel,
    "ItemKNN": partial(ItemKNN, neighbours=20),
    "EASE": partial(EASE, regularization=10.0),
    "GFCF": partial(GFCF, factors=8),
    "MF": partial(MF, dim=8),
    "LightGCN": partial(LightGCN, dim=8, layers=2),
    "GAT": partial(GAT, dim=8),
    "GenreGAT": partial(GenreGAT, dim=8, heads=2),
    "GenreGAT-sampled": partial(GenreGAT, dim=8, heads=2, gate="learned", fan_out=[5, 3]),
    "HybridRecommender": partial(HybridRecommender, views="graph", dim=8, identity=True),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))


def run(folder: Path, model: Callable[[Schema], Recommender], data: InteractionsDataModule, epochs: int = 2) -> Ranking:
    """The task after fit, where there is something to fit, and test."""
    seed_everything(data.seed)
    task = Ranking(model, optimizer=partial(torch.optim.Adam, lr=0.05), k=[10])
    made = trainer(folder, max_epochs=epochs, callbacks=[WriteResults()])
    if not getattr(model, "func", model).closed_form:  # type: ignore[attr-defined]
        made.fit(task, data)
    made.test(task, data, verbose=False)
    return task


def held_out(
    keep: Callable[[np.ndarray], np.ndarray], seed: int = 0, split: str = "test", **options: object
) -> InteractionsDataModule:
    """Five hundred rows, a fifth of them val and a fifth test, of which only some of those of one split are there."""
    rows = random_interactions()
    label = np.array([0, 0, 0, 1, 2], np.int8)[np.random.default_rng(seed).permutation(len(rows)) % 5]
    chosen = (label != SPLITS.index(split)) | keep(np.arange(len(rows)))
    number = np.arange(rows.num_items)
    genres = [[f"genre {item % 4}", f"genre {item % 3}"] for item in number]
    plots = [f"hero{item % 5} meets villain{item % 3}" for item in number]
    items = pd.DataFrame({"genres": genres, "year": np.where(number % 7, 1980.0 + number, np.nan), "plot": plots})
    items.index = rows.item_ids.to_pandas()
    source = Memory(replace(rows, split=label).take(chosen), items, variant=f"held out {seed} {split} {chosen.sum()}")
    return InteractionsDataModule(source, Recipe(split="official"), batch_size=64, **options)  # type: ignore[arg-type]


GRAPHS = {
    "plain": PLAIN,
    "ratings and features": GraphRecipe(weight="rating", features=["year"]),
    "times, common values": GraphRecipe(weight="recency", half_life=5.0, min_items=8),
}


def all_rows(number: np.ndarray) -> np.ndarray:
    return number >= 0


def every_third(number: np.ndarray) -> np.ndarray:
    return number % 3 == 0


class Seen(Loss):
    """Keeps the scores of the positives and the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.positive: list[Tensor] = []
        self.batch: list[PairBatch] = []

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        self.positive.append(positive.detach())
        self.batch.append(batch)
        return bpr(positive, negative)


TEXTS = TextRecipe(columns=["plot"], embedder=TfidfSVD(dim=8, min_df=1))


def scores(task: Ranking, data: InteractionsDataModule) -> Tensor:
    task.eval()  # Lightning leaves it in training
    with torch.no_grad():
        state = task.recommender.encode(data.views_of("train"))
        return task.recommender.score_all(task.recommender.users(state, torch.arange(data.schema.num_users)), state)
