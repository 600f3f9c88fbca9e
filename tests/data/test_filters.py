from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.filters import apply_filters, k_core, largest_core
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import Rows
from recsys_lightning.errors import InputError
from tests.data.memory import interactions, random_interactions


def sorted_rows(*args, **kwargs):
    rows = Rows(interactions(*args, **kwargs))
    rows.sort()
    return rows


def pairs_of(rows):
    users, items = rows.user_ids.to_pylist(), rows.item_ids.to_pylist()
    return [(users[u], items[i]) for u, i in zip(rows.user, rows.item, strict=True)]


DOUBLED = [("b", "x"), ("a", "y"), ("b", "x"), ("a", "x"), ("b", "x"), ("a", "y")]


@pytest.mark.parametrize(("policy", "ratings"), [("last", [4, 6, 5]), ("first", [4, 2, 1])])
def test_duplicates_without_time_go_by_place(policy, ratings):
    rows = sorted_rows(DOUBLED, rating=[1, 2, 3, 4, 5, 6])
    steps = apply_filters(rows, Recipe(duplicates=policy))
    assert pairs_of(rows) == [("a", "x"), ("a", "y"), ("b", "x")]
    assert rows.columns["rating"].tolist() == ratings
    assert [(s.name, s.rows) for s in steps] == [("read", 6), ("duplicates", 3)]
    assert "3 repeated pairs dropped" in steps[1].note


@pytest.mark.parametrize(("policy", "ratings"), [("last", [4, 2, 3]), ("first", [4, 6, 1])])
def test_duplicates_go_by_time_and_then_by_rating(policy, ratings):
    times = [1, 9, 1, 5, 1, 2]  # three rows of (b, x) at the same time
    for order in ([0, 1, 2, 3, 4, 5], [4, 2, 0, 5, 3, 1]):
        rating = np.array([2, 2, 3, 4, 1, 6])[order]
        rows = sorted_rows([DOUBLED[o] for o in order], rating=rating, timestamp=np.array(times)[order])
        apply_filters(rows, Recipe(duplicates=policy))
        assert rows.columns["rating"].tolist() == ratings


def test_duplicates_over_official_parts_stay_in_train():
    for policy in ("last", "first"):
        rows = sorted_rows([("a", "x"), ("a", "y"), ("a", "x")], split=[0, 2, 2], timestamp=[1, 2, 3])
        apply_filters(rows, Recipe(duplicates=policy))
        assert rows.columns["split"].tolist() == [0, 2]


def test_duplicates_can_be_refused():
    with pytest.raises(InputError, match=r"3 rows repeat .* user 'a', item 'y'"):
        apply_filters(sorted_rows(DOUBLED), Recipe(duplicates="error"))


def test_min_rating():
    rows = sorted_rows([("a", "x"), ("a", "y"), ("b", "x")], rating=[3, 4, 5])
    apply_filters(rows, Recipe(min_rating=4))
    assert pairs_of(rows) == [("a", "y"), ("b", "x")]
    with pytest.raises(InputError, match="no ratings"):
        apply_filters(sorted_rows([("a", "x")]), Recipe(min_rating=4))


def test_limits_keep_the_most_active_with_ties_by_id():
    pairs = [("c", "x"), ("b", "x"), ("b", "y"), ("a", "y"), ("a", "x"), ("c", "z"), ("d", "z")]
    rows = sorted_rows(pairs)
    apply_filters(rows, Recipe(limit_users=2))
    assert set(rows.user) == {0, 1}  # a and b: c is as active, but comes later
    rows = sorted_rows(pairs)
    apply_filters(rows, Recipe(limit_items=1))
    assert pairs_of(rows) == [("a", "x"), ("b", "x"), ("c", "x")]


def test_limit_interactions_is_a_sample_that_no_order_changes():
    data = random_interactions()
    kept = []
    for order in (np.arange(500), np.random.default_rng(1).permutation(500)):
        rows = Rows(data.take(order))
        rows.sort()
        apply_filters(rows, Recipe(limit_interactions=100))
        kept.append(pairs_of(rows))
    assert len(kept[0]) == 100 and kept[0] == kept[1]


def naive_core(pairs, user_core, item_core):
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if users[u] >= user_core and items[i] >= item_core]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


def test_orphans_are_counted_and_come_after_the_duplicates():
    rows = sorted_rows([*DOUBLED, ("c", "z"), ("c", "y")], rating=np.arange(8))
    steps = apply_filters(rows, Recipe(orphans="drop", min_rating=2), pd.Index(["y", "w", "x"]))
    assert [(s.name, s.rows) for s in steps] == [("read", 8), ("duplicates", 5), ("orphans", 4), ("min_rating", 4)]
    assert steps[2].note == "1 rows of 1 items that the table of items lacks dropped"
    again = apply_filters(sorted_rows(DOUBLED), Recipe(orphans="drop"), pd.Index(["y", "x"]))
    assert again[-1].note == "0 rows of 0 items that the table of items lacks dropped"


@pytest.mark.parametrize("described", [None, pd.Index([], dtype=str)])
def test_without_a_table_nobody_is_an_orphan(described):
    with pytest.raises(InputError, match="this data set has no table of items"):
        apply_filters(sorted_rows(DOUBLED), Recipe(orphans="drop"), described)


def test_a_table_of_other_ids_leaves_nothing():
    said = (
        r"none of the 2 items of 3 rows is in the table of items, which describes 2\. Ids begin with 'x' .* with '7' in"
    )
    with pytest.raises(InputError, match=said):
        apply_filters(sorted_rows(DOUBLED), Recipe(orphans="drop"), pd.Index([7, 8]))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_core_is_the_fixed_point(pairs, user_core, item_core):
    raw = sorted((f"u{u}", f"i{i}") for u, i in pairs)
    expected = naive_core(raw, user_core, item_core)
    rows = sorted_rows(raw)
    if expected:
        steps = k_core(rows, user_core, item_core)
        assert pairs_of(rows) == expected
        assert not steps or steps[-1].rows == len(expected)
        return
    with pytest.raises(InputError):
        k_core(rows, user_core, item_core)


def test_empty_core_says_sizes_and_the_largest_core():
    block = [(f"u{u}", f"i{i}") for u in range(4) for i in range(4)]
    rows = sorted_rows([*block, ("single", "i0"), ("u0", "rare")])
    with pytest.raises(InputError) as error:
        apply_filters(rows, Recipe(user_core=10, item_core=6))
    message = str(error.value)
    assert "18 rows, 5 users, 5 items" in message
    assert "core pass 1: 0 rows" in message
    assert "user_core: 4, item_core: 4" in message


def test_largest_core_holds_a_side_without_core_free():
    rows = sorted_rows([("a", f"i{i}") for i in range(7)])
    assert largest_core(rows.user, rows.item, 20, 0) == 7


def test_filters_that_empty_the_table_say_so():
    rows = sorted_rows([("a", "x")], rating=[1])
    with pytest.raises(InputError, match="min_rating: 0 rows"):
        apply_filters(rows, Recipe(min_rating=4))


@pytest.mark.parametrize(
    "options", [{"val": -0.1}, {"test": 1.5}, {"val": 0.5, "test": 0.5}, {"limit_users": 0}, {"user_core": -1}]
)
def test_impossible_recipes_are_refused(options):
    with pytest.raises(InputError):
        Recipe(**options)
