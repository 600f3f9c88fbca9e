from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys_lightning.callbacks.diagnosis.vectors import gates, of_vectors
from recsys_lightning.models.mf import MF
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.diagnosis.subjects import in_blocks, subject


def test_vectors_of_blocks_are_seen_to_be_so(tmp_path: Path) -> None:
    found = of_vectors(in_blocks(tmp_path))
    (genre,) = found["cohesion"]
    assert genre["kind"] == "genre" and genre["k"] == 5 and genre["observed"] == 1
    assert genre["expected"] == pytest.approx(1 / 3, abs=0.03)
    assert found["norms"]["user"].mean == pytest.approx(2) and 1 < found["norms"]["item"].mean < 1.4
    assert found["alignment"].mean > 0.8 > 0.6 > found["alignment"].shuffled


def test_vectors_that_no_row_has_moved_do_not_count(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    made.popularity[0] = 0
    with torch.no_grad():
        made.model.item[0] = 1e6
        made.model.item[0, 0] *= -1
    found = of_vectors(made)
    assert found["norms"]["item"].mean < 2 and found["cohesion"][0]["observed"] == 1
    assert found["cohesion"][0]["items"] == made.model.num_items - 1


def test_closed_forms_have_none(tmp_path: Path) -> None:
    made = subject(tmp_path, Ranking(Popularity))
    assert of_vectors(made) == {} == gates(made)


def test_gates_that_lean_by_degree_are_seen_to_do_so(tmp_path: Path) -> None:
    made = in_blocks(tmp_path)
    made.popularity[:2] = 0
    degree = torch.from_numpy(made.popularity).float()
    rows = made.task.fitting_views.train.degree.float()
    review = torch.where(degree > degree.median(), degree, torch.nan)
    noise = torch.rand(len(rows), generator=torch.Generator().manual_seed(0))
    of = {"item": 1 / (1 + degree), "user": noise, "review": review, "few": degree[:3], "same": torch.ones(len(degree))}
    made.model.__class__ = type("GatedMF", (MF,), {"gates": lambda self, views: of})
    found = gates(made)
    assert set(found) == {"item", "user", "review"}
    item, user = found["item"], found["user"]
    assert item["spearman"] == pytest.approx(-1) and item["count"] == len(degree)
    assert user["low"] < 0 < user["high"] and user["count"] == len(rows)
    assert found["review"]["spearman"] == pytest.approx(1) and found["review"]["count"] == int((~review.isnan()).sum())
    points = item["points"]
    assert (points[0]["from"], points[0]["to"], points[0]["count"], points[0]["mean"]) == (0, 0, 2, 1)
    assert sum(point["count"] for point in points) == len(degree)
    assert all(point["low"] <= point["mean"] <= point["high"] for point in points)
    assert np.all(np.diff([point["mean"] for point in points]) < 0)
    assert points[-1]["to"] == made.popularity.max()
