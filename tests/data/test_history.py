from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsys_lightning.data.history import histories
from recsys_lightning.data.prepare import Recipe, prepare
from tests.data.memory import Memory, interactions, random_interactions


def oracle(rows, length, levels, buckets):
    """The definition, user by user and row by row."""
    shape = (rows.num_users, length + 1)
    item = torch.full(shape, rows.num_items)
    rating, time, before, mask = (torch.zeros(shape, dtype=dtype) for dtype in (*[torch.long] * 3, torch.bool))
    for user in range(rows.num_users):
        own = [r for r in range(len(rows)) if rows.user[r] == user]
        if rows.time is not None:
            own.sort(key=lambda r: (rows.time[r], rows.item[r]))
        own = own[-length - 1 :]
        for place, row in enumerate(own):
            item[user, place] = int(rows.item[row])
            below = 1 if rows.rating is None else sum(level <= rows.rating[row] for level in levels)
            rating[user, place] = max(1, int(below))
            for newest, table in ((1, time), (2, before)):
                if place > len(own) - newest:
                    continue
                gap = 0.0
                if rows.timestamp is not None:
                    gap = (rows.timestamp[own[-newest]] - rows.timestamp[row]) / 3600
                elif rows.order is not None:
                    gap = len(own) - newest - place
                table[user, place] = 1 + min(buckets - 1, math.floor(math.log2(1 + gap)))
            mask[user, place] = True
    return item, rating, time, before, mask, torch.tensor(rows.timestamp is None and rows.order is not None)


def timed(kind):
    data = random_interactions(users=25, items=20, rows=200, seed=5)
    columns = {"rating": data.rating, "timestamp": None, "order": None}
    columns[kind] = data.timestamp - (0 if kind == "timestamp" else 10**9)
    if kind == "none":
        columns = {"rating": None, "timestamp": None, "order": None}
    pairs = [(str(u), str(i)) for u, i in zip(data.user, data.item, strict=True)]
    rows = interactions(pairs, **{name: column for name, column in columns.items() if column is not None})
    return prepare(Memory(rows), Recipe(split="random", val=0, test=0)).interactions


@pytest.mark.parametrize("kind", ["timestamp", "order", "none"])
@pytest.mark.parametrize("length", [1, 4, 30])
def test_equals_the_loop_bit_for_bit(kind, length):
    rows = timed(kind)
    levels = np.array([1, 2.5, 4], np.float32)  # coarser than the ratings
    history = histories(rows, length, levels, 6)
    for found, expected in zip(history, oracle(rows, length, levels, 6), strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_a_user_without_rows_is_all_padding():
    prepared = prepare(Memory(random_interactions()), Recipe())
    rows = prepared.interactions
    without = rows.take(rows.user != 3)
    history = histories(without, 5, prepared.rating_levels, 16)
    assert not history.mask[3].any()
    assert (history.item[3] == rows.num_items).all()
    assert (history.rating[3] == 0).all() and (history.time[3] == 0).all()
    assert history.mask[2].any()


@pytest.mark.parametrize("kind", ["timestamp", "order", "none"])
@pytest.mark.parametrize("length", [1, 4, 30])
def test_a_history_without_an_item_is_that_of_rows_without_it(kind, length):
    rows = timed(kind)
    levels = np.array([1, 2.5, 4], np.float32)
    history = histories(rows, length, levels, 6)
    for row in range(0, len(rows), 7):
        user, item = torch.tensor([int(rows.user[row])]), torch.tensor([int(rows.item[row])])
        never = histories(rows.take(np.arange(len(rows)) != row), length, levels, 6)
        assert all(map(torch.equal, history.without(user, item), never.of(user)))
        absent = torch.tensor([rows.num_items - 1 if item < rows.num_items - 1 else 0])
        if not (rows.item[rows.user == int(user)] == int(absent)).any():
            assert all(map(torch.equal, history.without(user, absent), history.of(user)))


def test_the_newest_entries_are_read():
    rows = timed("timestamp")
    longer, history = histories(rows, 30, np.ones(1, np.float32), 6), histories(rows, 4, np.ones(1, np.float32), 6)
    for user in range(rows.num_users):
        real = int(longer.mask[user].sum())
        own = history.of(torch.tensor([user]))
        assert own.item.shape == (1, 4)
        assert own.item[own.mask].tolist() == longer.item[user, max(0, real - 4) : real].tolist()


def test_levels_are_those_of_train():
    data = interactions([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")], rating=[2, 4, 3, 9], split=[0, 0, 0, 1])
    prepared = prepare(Memory(data), Recipe(split="official"))
    assert prepared.schema().rating_levels == 3
    history = prepared.views("train", "val").history
    assert history.rating[1, :2].tolist() == [2, 3]  # 9 is above every level of train


def test_many_ratings_are_grouped_by_quantiles():
    plays = np.arange(1, 1001)
    rows = interactions([(f"u{n % 10}", f"i{n}") for n in plays], rating=plays)
    prepared = prepare(Memory(rows), Recipe(split="random", val=0, test=0))
    assert prepared.schema().rating_levels == 32
    sizes = torch.bincount(prepared.views("train", history_length=200).history.rating.flatten())[1:]
    assert len(sizes) == 32 and sizes.min() >= 31 and sizes.max() <= 33
