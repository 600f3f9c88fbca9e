"""Figures that others published, on the data that they used, through the command that a user would type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Recsys

pytestmark = pytest.mark.slow


def figures(recsys: Recsys, root: Path, experiment: str) -> dict[str, float]:
    outcome = recsys("test", "--config", REPOSITORY / "experiments" / experiment, "--data.root", root)
    assert outcome.status == 0, outcome.err
    metrics: dict[str, float] = json.loads(Path(outcome.last_line).read_text())
    return metrics


@pytest.mark.parametrize(
    ("experiment", "recall", "ndcg", "within"),
    [
        ("gowalla/popularity.yaml", 0.0416, 0.0317, 0.0001),
        ("gowalla/gfcf.yaml", 0.1849, 0.1518, 0.0003),  # CIKM 2021, arXiv 2108.07567
    ],
)
def test_gowalla(recsys: Recsys, real_data: Path, experiment: str, recall: float, ndcg: float, within: float) -> None:
    found = figures(recsys, real_data, experiment)
    assert found["test/recall_20"] == pytest.approx(recall, abs=within)
    assert found["test/ndcg_20"] == pytest.approx(ndcg, abs=within)
    assert found["users"] == 29_858


def test_item_knn_on_gowalla(recsys: Recsys, real_data: Path) -> None:
    assert figures(recsys, real_data, "gowalla/itemknn.yaml")["test/recall_20"] >= 0.155


def test_ease_on_ml_1m(recsys: Recsys, real_data: Path) -> None:
    found = figures(recsys, real_data, "ml-1m/ease.yaml")
    assert found["test/recall_10"] >= 0.209
    assert found["test/ndcg_10"] >= 0.283
