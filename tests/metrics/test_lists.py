from __future__ import annotations

import math

import pytest
import torch

from recsys_lightning.metrics.lists import (
    coverage,
    exposure,
    gini,
    intra_list_diversity,
    list_popularity,
    novelty,
    popularity_lift,
)


def test_novelty_is_self_information_and_finite_for_unknown_items() -> None:
    item = torch.tensor([[0, 1], [2, -1], [-1, -1]])
    value = novelty(item, torch.tensor([7, 3, 0]), num_users=7)
    assert value[:2].tolist() == pytest.approx([(0 + 1) / 2, 3.0])
    assert value[2].isnan()


def test_list_popularity_ignores_empty_slots() -> None:
    value = list_popularity(torch.tensor([[0, 1], [1, -1], [-1, -1]]), torch.tensor([8, 2]))
    assert value[:2].tolist() == [5.0, 2.0]
    assert value[2].isnan()


def test_diversity_of_genres() -> None:
    genres = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]]).float()
    lists = torch.tensor([[0, 1, -1], [0, 2, -1], [0, 3, -1], [0, 2, 4], [0, 1, 2]])
    value = intra_list_diversity(lists, genres)
    assert value.tolist() == pytest.approx([0.0, 1.0, 1 - 1 / math.sqrt(2), 1.0, 2 / 3])


@pytest.mark.parametrize("single", [[0, -1, -1], [0, 4, 4], [-1, -1, -1], [4, 4, 4]])
def test_diversity_needs_two_items_with_genres(single: list[int]) -> None:
    genres = torch.eye(5, 4)
    assert intra_list_diversity(torch.tensor([single]), genres).isnan().all()


def test_exposure_coverage_and_gini() -> None:
    shown = exposure(torch.tensor([[0, 1], [0, -1], [0, 3]], dtype=torch.int32), num_items=4)
    assert shown.tolist() == [3, 1, 0, 1]
    assert coverage(shown).item() == 0.75
    differences = sum(abs(a - b) for a in shown.tolist() for b in shown.tolist())
    assert gini(shown).item() == pytest.approx(differences / (2 * 4 * 5))


@pytest.mark.parametrize(("counts", "expected"), [([5, 5, 5, 5], 0.0), ([0, 0, 0, 9], 0.75)])
def test_gini_at_its_ends(counts: list[int], expected: float) -> None:
    assert gini(torch.tensor(counts)).item() == pytest.approx(expected, abs=1e-12)


def test_gini_of_nothing_is_missing() -> None:
    assert gini(torch.zeros(3, dtype=torch.long)).isnan()


def test_popularity_lift_compares_the_same_users() -> None:
    listed = torch.tensor([6.0, 2.0, 100.0, math.nan], dtype=torch.float64)
    profile = torch.tensor([1.0, 3.0, math.nan, 50.0], dtype=torch.float64)
    assert popularity_lift(listed, profile).item() == pytest.approx(4 / 2 - 1)
