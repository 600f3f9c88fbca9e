from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.buckets import buckets
from recsys_lightning.errors import InputError

NAN = float("nan")
NUMBERS = st.one_of(st.just(NAN), st.integers(-3, 3).map(float), st.floats(-1e9, 1e9))
COLUMN = st.lists(st.tuples(NUMBERS, st.booleans()), min_size=1, max_size=60).filter(
    lambda rows: any(known and value == value for value, known in rows)
)


def codes(values: Any, number: int, known: Any = None) -> tuple[list[int], int]:
    items = pd.DataFrame({"n": np.asarray(values, np.float64)})
    found, sizes = buckets(items, ["n"], number, np.ones(len(items), bool) if known is None else np.asarray(known))
    assert found.dtype == np.int64 and found.shape == (len(items), 1)
    return found[:, 0].tolist(), sizes["n"]


def test_buckets_are_quantiles_and_unknown_is_zero() -> None:
    assert codes([5, 1, NAN, 2, 4, 3, 6], 3) == ([3, 1, 0, 1, 2, 2, 3], 4)


def test_few_distinct_values_are_buckets_of_their_own() -> None:
    assert codes([0, 7, 3, NAN, 7, 0], 3) == ([1, 3, 2, 0, 3, 1], 4)
    assert codes([4, 4, 4], 10) == ([1, 1, 1], 2)  # a constant
    assert codes([4, 9, NAN, 5], 10, [True, False, True, True]) == ([1, 2, 0, 2], 3)


def test_ties_at_an_end_leave_no_bucket_empty() -> None:
    found, size = codes([0] * 90 + list(range(1, 11)), 5)
    assert size == 2 and set(found) == {1}
    assert codes([*range(10), *[10] * 90], 5) == ([1] * 10 + [2] * 90, 3)


def test_values_beyond_train_fall_into_the_end_buckets() -> None:
    known = [True] * 20 + [False] * 3
    found, size = codes([*range(20), -5, 99, 4.5], 4, known)
    assert size == 5 and found[20:] == [1, 4, 1] and found[4:6] == [1, 2]


@given(COLUMN, st.lists(NUMBERS, max_size=20), st.integers(2, 12))
def test_held_out_items_change_nothing_for_those_of_train(rows: Any, others: list[float], number: int) -> None:
    train = [value for value, known in rows if known]
    alone, size = codes(train, number)
    mixed, same = codes([value for value, _ in rows] + others, number, [k for _, k in rows] + [False] * len(others))
    assert size == same and alone == [code for code, (_, known) in zip(mixed, rows, strict=False) if known]


@given(COLUMN, st.integers(2, 12))
def test_codes_follow_the_order_of_values(rows: Any, number: int) -> None:
    values = np.array([value for value, _ in rows])
    found, size = codes(values, number, [known for _, known in rows])
    assert all((code == 0) == np.isnan(value) for value, code in zip(values, found, strict=True))
    ordered = [code for _, code in sorted((v, c) for v, c in zip(values, found, strict=True) if c)]
    assert ordered == sorted(ordered) and max(ordered, default=0) < size <= number + 1
    by_value: dict[float, set[int]] = {}
    for value, code in zip(values, found, strict=True):
        if code:
            by_value.setdefault(value, set()).add(code)
    assert all(len(own) == 1 for own in by_value.values())


@given(st.lists(st.integers(0, 30).map(float), min_size=1, max_size=80), st.integers(2, 12))
def test_buckets_are_as_even_as_ties_allow(values: list[float], number: int) -> None:
    found, size = codes(values, number)
    fair = -(-len(values) // number)
    for code in range(1, size):
        own = [value for value, other in zip(values, found, strict=True) if other == code]
        assert own and sum(value > min(own) for value in own) <= fair


def test_without_ties_buckets_are_even() -> None:
    sizes = np.bincount(codes(np.random.default_rng(0).random(103), 10)[0])[1:]
    assert len(sizes) == 10 and sizes.max() - sizes.min() == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "yaer",
            "names yaer, which is no column of numbers of the items; there are year, late, wild. Did you mean yea",
        ),
        ("title", "names title, which is no column of numbers"),
        ("late", "names late, which is unknown for all items of train: it tells nothing. Leave it out"),
        ("wild", "names wild, which holds infinite values"),
    ],
)
def test_what_makes_no_buckets_is_refused(name: str, message: str) -> None:
    items = pd.DataFrame({"title": ["a", "b"], "year": [1, 2], "late": [NAN, 3], "wild": [1, float("inf")]})
    with pytest.raises(InputError, match=r"data\.graph\.context " + message):
        buckets(items, ["year", name], 3, np.array([True, False]))


def test_columns_stand_in_the_order_asked_for() -> None:
    items = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 1, 2]})
    found, sizes = buckets(items, ["b", "a"], 5, np.ones(3, bool))
    assert found.tolist() == [[1, 1], [1, 2], [2, 3]] and list(sizes.items()) == [("b", 3), ("a", 4)]
