from __future__ import annotations

import numpy as np
import pytest

from recsys_lightning.data import rows as rows_module
from recsys_lightning.data.rows import (
    Rows,
    count,
    distinct,
    gather,
    item_noise,
    noise,
    offsets,
    order_within,
    user_noise,
)
from tests.data.memory import interactions, random_interactions


def test_rows_are_sorted_and_keep_their_columns():
    rows = Rows(interactions([("b", "y"), ("a", "z"), ("b", "x"), ("a", "z")], rating=[1, 2, 3, 4], order=[5, 6, 7, 8]))
    rows.sort()
    assert rows.user_ids.to_pylist() == ["a", "b"] and rows.item_ids.to_pylist() == ["x", "y", "z"]
    assert rows.user.tolist() == [0, 0, 1, 1] and rows.item.tolist() == [2, 2, 0, 1]
    assert rows.columns["rating"].tolist()[2:] == [3, 1] and sorted(rows.columns["rating"][:2]) == [2, 4]
    assert (rows.columns["rating"] == rows.columns["position"] + 1).all()
    assert (rows.time == rows.columns["position"] + 5).all()
    assert rows.user.dtype == rows.item.dtype == np.int32


def test_sorting_leaves_the_raw_table_as_it_was():
    raw = random_interactions()
    before = raw.take(np.arange(len(raw)))
    rows = Rows(raw)
    rows.sort()
    rows.keep(rows.user > 3)
    assert (raw.user == before.user).all() and (raw.timestamp == before.timestamp).all()


def test_sorting_no_rows():
    rows = Rows(random_interactions().take(np.zeros(500, bool)))
    rows.sort()
    assert len(rows) == 0


@pytest.mark.parametrize("width", [5, 40, 62])
def test_order_within_is_a_stable_sort(width):
    """62 bits of key leave no room for user and place: the slow path must agree."""
    random = np.random.default_rng(width)
    degree = random.integers(0, 9, 50)
    crow = offsets(degree)
    key = random.choice(random.integers(-(2**width) // 2, 2**width // 2, 20), degree.sum())  # many ties
    user = np.repeat(np.arange(50), degree)
    assert (order_within(crow, key) == np.lexsort((key, user))).all()
    middle = slice(crow[10], crow[30])
    assert (order_within(crow[10:31], key[middle]) == np.lexsort((key[middle], user[middle]))).all()


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    codes, table = random.integers(0, 7, 100).astype(np.int32), random.random(7)
    for block in (1, 9, 1000):
        monkeypatch.setattr(rows_module, "BLOCK", block)
        assert (count(codes, 9) == np.bincount(codes, minlength=9)).all()
        assert (gather(table, codes) == table[codes]).all()
    assert distinct(codes) == 7 and distinct(codes[:0]) == 0


def test_noise_is_uniform_and_belongs_to_the_pair():
    rows = Rows(interactions([(f"u{u}", f"i{i}") for u in range(100) for i in range(100)]))
    rows.sort()
    numbers = noise(rows, 0)
    observed = np.bincount(numbers >> np.uint32(28), minlength=16)
    assert ((observed - 625) ** 2 / 625).sum() < 50  # chi-square, 15 degrees: p ~ 1e-5
    few = Rows(interactions([("u7", "i9"), ("u7", "i1")]))
    few.sort()
    place = np.flatnonzero(
        (rows.user == rows.user_ids.index("u7").as_py()) & (rows.item == rows.item_ids.index("i9").as_py())
    )
    assert noise(few, 0)[1] == numbers[place[0]]


@pytest.mark.parametrize("of", [item_noise, user_noise])
def test_noise_of_items_and_users_belongs_to_the_id(of):
    numbers = {}
    for order in (1, -1):
        rows = Rows(interactions([(f"i{n}", f"i{n}") for n in range(2000)][::order]))
        rows.sort()
        numbers[order] = dict(zip(rows.item_ids.to_pylist(), of(rows, 5).tolist(), strict=True))
    assert numbers[1] == numbers[-1] and len(set(numbers[1].values())) == 2000
    few = Rows(interactions([("other", "other"), ("i7", "i7")]))
    few.sort()
    assert of(few, 5)[few.item_ids.index("i7").as_py()] == numbers[1]["i7"]
    assert of(few, 6)[few.item_ids.index("i7").as_py()] != numbers[1]["i7"]
    observed = np.bincount([number >> 60 for number in numbers[1].values()], minlength=16)
    assert ((observed - 125) ** 2 / 125).sum() < 50  # chi-square, 15 degrees: p ~ 1e-5
