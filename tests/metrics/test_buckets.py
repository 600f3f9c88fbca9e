from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.metrics.buckets import bins, recall_by


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 6))
def test_bins_keep_equal_values_together_and_in_order(values: list[int], number: int) -> None:
    numbers = np.array(values)
    found = bins(numbers, number)
    assert len(found) <= number + (0 in values)
    for place, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        own = numbers[found.code == place]
        assert len(own) and (own.min(), own.max()) == (low, high)
    assert found.low == sorted(found.low) and all(a < b for a, b in zip(found.high, found.low[1:], strict=False))


def test_bins_are_equally_full_and_zeros_are_apart() -> None:
    found = bins(np.array([*range(1, 21), 0, 0, 0]), 4)
    assert np.bincount(found.code).tolist() == [3, 5, 5, 5, 5]
    assert found.names == ["0", "1 to 5", "6 to 10", "11 to 15", "16 to 20"]
    assert bins(np.array([7, 7, 1200, 3400]), 2).names == ["7", "1,200 to 3,400"]
    assert bins(np.array([0, 0]), 3).names == ["0"]


def test_recall_counts_relevant_rows() -> None:
    found = bins(np.array([0, 1, 1, 9, 9, 9]), 2)
    cold, rare, popular = recall_by(
        found, np.array([4, 4, 7, 7, 7, 2]), np.array([False, True, False, True, True, False])
    )
    assert (cold.users, cold.relevant, cold.recall) == (1, 1, 0)
    assert (rare.users, rare.relevant, rare.recall) == (2, 2, 0.5)
    assert (popular.users, popular.relevant, popular.recall) == (2, 3, pytest.approx(2 / 3))
    assert (rare.low, rare.high) == (0, 1)


def test_rows_of_a_user_stand_or_fall_together() -> None:
    """Ten rows of one user tell no more than one."""
    one = bins(np.ones(400, np.int64), 1)
    hit = np.random.default_rng(0).random(40) < 0.3
    many = recall_by(one, np.arange(400), np.tile(hit, 10))[0]
    few = recall_by(one, np.repeat(np.arange(40), 10), np.repeat(hit, 10))[0]
    alike = recall_by(bins(np.ones(40, np.int64), 1), np.arange(40), hit)[0]
    assert (few.recall, few.low, few.high) == (alike.recall, alike.low, alike.high)
    assert few.high - few.low > 2 * (many.high - many.low)
    error = np.sqrt(hit.mean() * (1 - hit.mean()) / 40)
    assert few.low == pytest.approx(hit.mean() - 1.96 * error, abs=0.03)
