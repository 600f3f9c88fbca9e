"""Guarantees that models of features keep: no held-out row, and nothing that is given, reaches training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.two_tower import TwoTower
from tests.guarantees import all_rows, every_third, held_out, run, scores
from tests.worlds import MemorySource

pytestmark = pytest.mark.usefixtures("seeded")

FEATURES = FeatureRecipe(numbers=["year"], title=False, categories=["genres"])
KINDS: list[dict[str, Any]] = [{"mimic": "metadata"}, {"mimic": "dat", "fusion": "concat"}, {"fusion": "metadata"}]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("test_views", ["train", "train+val"])
def test_g5_no_score_of_two_towers_depends_on_a_test_row(
    tmp_path: Path, options: dict[str, Any], test_views: str
) -> None:
    model = partial(TwoTower, dim=8, hidden=8, **options)
    whole, fewer = (held_out(keep, test_views=test_views, features=FEATURES) for keep in (all_rows, every_third))
    tasks = [run(tmp_path / str(n), model, data) for n, data in enumerate((whole, fewer))]
    assert tasks[0].results["test/recall_10"] != tasks[1].results["test/recall_10"]
    assert torch.equal(scores(tasks[0], whole), scores(tasks[1], fewer))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_g5_what_is_given_changes_no_tower(tmp_path: Path, options: dict[str, Any]) -> None:
    def trained(shots: int) -> tuple[dict[str, torch.Tensor], float]:
        recipe = Recipe(split="user_cold", val=0.1, test=0.2, shots=shots, reserve=5)
        features = FeatureRecipe(title=False, categories=["genres"])
        source = MemorySource(num_users=200, num_items=60)
        data = InteractionsDataModule(source, recipe, batch_size=256, features=features)
        task = run(tmp_path, partial(TwoTower, dim=8, hidden=8, **options), data)
        return task.recommender.state_dict(), task.results["test/ndcg_10"]

    (without, low), (given, high) = (trained(shots) for shots in (0, 5))
    assert all(torch.equal(without[key], given[key]) for key in without)
    assert low != high
