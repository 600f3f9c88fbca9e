from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.recommendations import WriteRecommendations
from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.vectors import read_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models import EASE, GAT, MF, Embeddings
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.worlds import DomainSource


def domains() -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(), Recipe(split="random"))


def predicted(folder: Path, model: Any, module: InteractionsDataModule | None = None) -> Ranking:
    task = Ranking(model)
    run = trainer(
        folder,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=0,
        callbacks=[WriteVectors(), WriteRecommendations()],
    )
    run.fit(task, module or data())
    run.predict(task, module or data())
    return task


@pytest.mark.parametrize("model", [MF, GAT])
def test_the_file_holds_what_the_scores_are_made_of(tmp_path: Path, model: Any) -> None:
    task, module = predicted(tmp_path, partial(model, dim=4), domains()), domains()
    found = read_vectors(tmp_path / "vectors.safetensors", module.prepared)
    assert found.model == model.__name__
    with torch.no_grad():
        state = task.recommender.encode(module.views)
        scores = task.recommender.score_all(task.recommender.users(state, torch.arange(60)), state)
    torch.testing.assert_close(found.vectors.user @ found.vectors.item.T, scores)


@pytest.mark.parametrize(
    ("split", "test_views", "rows"),
    [
        ("random", "train", ("train",)),
        ("random", "train+val", ("train", "val")),
        ("user_cold", "train", ("train", "given")),
    ],
)
def test_the_file_tells_which_rows_the_model_saw(
    tmp_path: Path, split: Any, test_views: Any, rows: tuple[str, ...]
) -> None:
    recipe = Recipe(split=split, shots=2 if split == "user_cold" else 0)
    module = InteractionsDataModule(DomainSource(), recipe, test_views=test_views)
    predicted(tmp_path, partial(MF, dim=4), module)
    assert read_vectors(tmp_path / "vectors.safetensors", module.prepared).rows == rows


def test_a_model_without_vectors_is_refused_before_it_recommends(tmp_path: Path) -> None:
    run = trainer(tmp_path, callbacks=[WriteVectors(), WriteRecommendations()])
    with pytest.raises(InputError, match="EASE has no vectors whose dot products are its scores"):
        run.predict(Ranking(partial(EASE, regularization=10.0)), data())
    assert not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob("*.parquet"))


class Broken(MF):
    """Whose vectors are no numbers."""

    def encode(self, views: Views) -> Embeddings:
        state = super().encode(views)
        return state if self.training else Embeddings(state.user * torch.nan, state.item)


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The vectors of Broken hold values that are no finite numbers"):
        predicted(tmp_path, partial(Broken, dim=4))
    assert not list(tmp_path.glob("*.safetensors"))
