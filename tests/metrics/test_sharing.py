from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.metrics import sharing
from recsys_lightning.metrics.sharing import Kind, cohesion, hit_ratio, hit_ratios, queries
from tests.worlds import csr

SHAPES = st.tuples(st.integers(2, 9), st.integers(1, 5), st.integers(0, 999))


def kind(table: torch.Tensor) -> Kind:
    return Kind("genre", tuple(f"g{value}" for value in range(table.shape[1])), csr(table))


def random(rows: int, columns: int, seed: int, chance: float = 0.4) -> torch.Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < chance


def sets(table: torch.Tensor) -> list[set[int]]:
    return [set(row.nonzero()[:, 0].tolist()) for row in table]


@settings(deadline=None)
@given(SHAPES, st.booleans())
def test_cohesion_is_that_of_all_pairs_counted_one_by_one(shape: tuple[int, int, int], dense: bool) -> None:
    num_items, num_values, seed = shape
    table = random(num_items, num_values, seed)
    values, items = sets(table), np.arange(num_items)
    near = np.stack([np.delete(items, item)[:1] for item in items])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "FEW_VALUES", 100 if dense else 0)
        patch.setattr(sharing, "PAIRS", 10)
        found = cohesion(kind(table), items, near, items)
    known = [item for item in items if values[item]]
    if not known:
        assert found is None
        return
    assert found is not None and (found.items, found.k) == (len(known), 1)
    assert found.observed == pytest.approx(np.mean([bool(values[item] & values[near[item, 0]]) for item in known]))
    pairs = [bool(values[item] & values[other]) for item in known for other in items if other != item]
    assert found.expected == pytest.approx(np.mean(pairs))


def test_near_items_of_one_block_share_and_any_two_do_so_by_chance() -> None:
    blocks = torch.eye(3)[torch.arange(30) % 3]
    items = np.arange(30)
    found = cohesion(kind(blocks), items, np.stack([(items + 3) % 30, (items + 6) % 30], axis=1), items)
    assert found is not None and found.observed == 1 and found.expected == pytest.approx(9 / 29)


def test_only_items_that_could_be_near_are_expected() -> None:
    """Items 2 and 3 are no candidates: nothing is known of their vectors."""
    table = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 0]])
    found = cohesion(kind(table), np.array([0, 1]), np.array([[1], [0]]), np.array([0, 1]))
    assert found is not None and (found.observed, found.expected) == (0, 0)


@settings(deadline=None)
@given(SHAPES, st.booleans())
def test_hit_ratios_are_those_counted_one_by_one(shape: tuple[int, int, int], dense: bool) -> None:
    num_items, num_values, seed = shape
    table, own = random(num_items, num_values, seed), random(4, num_items, seed + 1)
    seen = own | random(4, num_items, seed + 2)
    lists = np.array([[*(~row).nonzero()[:2, 0].tolist(), -1, -1][:2] for row in seen])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "FEW_VALUES", 100 if dense else 0)
        patch.setattr(sharing, "PAIRS", 2 * num_items)
        recommended, chance = hit_ratios(kind(table), csr(own), csr(seen), lists)
    values = sets(table)
    for user in range(4):
        taste = set().union(*(values[item] for item in sets(own)[user]))
        left = [item for item in range(num_items) if not seen[user, item]]
        listed = [item for item in lists[user] if item >= 0]
        if not taste or not listed:
            assert np.isnan(recommended[user]) and np.isnan(chance[user])
            continue
        assert recommended[user] == pytest.approx(np.mean([bool(values[item] & taste) for item in listed]))
        assert chance[user] == pytest.approx(np.mean([bool(values[item] & taste) for item in left]))


def test_a_ratio_counts_the_users_who_have_one() -> None:
    table = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]])
    own = csr(torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]))
    found = hit_ratio(kind(table), own, own, np.array([[1, 2], [0, 1], [0, 3]]))
    assert found is not None and (found.users, found.lists) == (2, 0.25)
    assert found.random == pytest.approx((1 / 3 + 0) / 2)
    assert hit_ratio(kind(torch.zeros(4, 2)), own, own, np.array([[1, 2], [0, 1], [0, 3]])) is None


def test_many_items_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    items = np.arange(5, 55)
    assert queries(items) is items
    monkeypatch.setattr(sharing, "QUERIES", 49)
    monkeypatch.setattr(sharing, "SAMPLE", 10)
    chosen = queries(items, seed=3)
    assert len(set(chosen)) == 10 and set(chosen) <= set(items) and (np.diff(chosen) > 0).all()
    assert (queries(items, seed=3) == chosen).all() and (queries(items, seed=4) != chosen).any()
