from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.edge_weights import LEAST_WEIGHT, EdgeWeights
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.errors import InputError
from tests.data.memory import interactions

DAY = 86_400


def rows(ratings: list[float] | None = None, **columns: list[int]) -> Interactions:
    """Users a and b with three and two rows."""
    pairs = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "z")]
    return interactions(pairs, **columns, **({} if ratings is None else {"rating": ratings}))


def test_alike_is_no_weight_at_all() -> None:
    assert EdgeWeights.fit("none", rows(), 180)(rows()) is None


def test_a_rating_is_over_the_mean_of_train() -> None:
    weights = EdgeWeights.fit("rating", rows([1, 2, 3, 4, 5]), 180)
    found = weights(rows([3, 6, 0, -2, 1.5]))
    assert found is not None and found.dtype == np.float32
    assert found.tolist() == pytest.approx([1, 2, LEAST_WEIGHT, LEAST_WEIGHT, 0.5])


def test_a_count_is_damped() -> None:
    counts = [0, 1, 9, 99, 9999]
    found = EdgeWeights.fit("count", rows(counts), 180)(rows(counts))
    logs = np.log10(1 + np.array(counts))
    assert found is not None and found[0] == np.float32(LEAST_WEIGHT)
    assert found[1:] == pytest.approx(logs[1:] / logs.mean(), rel=1e-6)


def test_recency_counts_days_before_the_users_own_newest_row() -> None:
    data = rows(timestamp=[5 * DAY, 15 * DAY, 35 * DAY, 900 * DAY, 895 * DAY])
    found = EdgeWeights.fit("recency", data, 10)(data)
    assert found is not None
    assert found.tolist() == pytest.approx([0.5**3, 0.5**2, 1, 1, 0.5**0.5])


def test_without_a_clock_recency_counts_the_users_interactions() -> None:
    data = rows(order=[7, 90, 8, 2, 1])  # the numbers of an order are no distances
    found = EdgeWeights.fit("recency", data, 1)(data)
    assert found is not None
    assert found.tolist() == [0.25, 1, 0.5, 1, 0.5]


def test_users_without_rows_are_passed_over() -> None:
    data = rows(timestamp=[0, 1, 2, 3, 4])
    later = data.take(np.array([3, 4]))
    found = EdgeWeights.fit("recency", data, 1)(later)
    assert found is not None and found[1] == 1


@given(st.lists(st.integers(-(10**10), 10**10), min_size=5, max_size=5), st.floats(1e-3, 1e6))
def test_recency_is_positive_and_at_most_one(time: list[int], half_life: float) -> None:
    data = rows(timestamp=time)
    found = EdgeWeights.fit("recency", data, half_life)(data)
    assert found is not None
    assert (found >= np.float32(LEAST_WEIGHT)).all() and found.max() == 1
    newer = np.argsort(time[:3], kind="stable")
    assert (np.diff(found[:3][newer]) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("rating", rows(), r"weight is rating, but the interactions have no ratings\. Name their column"),
        ("count", rows(), "weight is count, but the interactions have no ratings"),
        ("recency", rows([1, 2, 3, 4, 5]), "weight is recency, but the interactions have neither timestamps nor"),
        ("count", rows([1, 2, -3, 4, 5]), "a rating of -3 counts nothing"),
        ("rating", rows([-5, -5, 1, 1, 1]), "the ratings of train have a mean of -1.4"),
        ("count", rows([0, 0, 0, 0, 0]), "the ratings of train have a mean of 0"),
    ],
)
def test_what_cannot_be_weighed_is_said(kind: str, data: Interactions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EdgeWeights.fit(kind, data, 180)  # type: ignore[arg-type]


def test_a_count_below_zero_among_later_rows_weighs_least() -> None:
    data = rows([1, 2, 3, 4, 5])
    assert data.rating is not None
    found = EdgeWeights.fit("count", data, 180)(replace(data, rating=data.rating - 4))
    assert found is not None and found[0] == np.float32(LEAST_WEIGHT)
