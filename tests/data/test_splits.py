from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data import rows as rows_module
from recsys_lightning.data import splits
from recsys_lightning.data.rows import Rows, item_noise, noise, user_noise
from recsys_lightning.errors import InputError
from tests.data.memory import interactions, random_interactions

TRAIN, VAL, TEST = 0, 1, 2


def sorted_rows(*args, **kwargs):
    rows = Rows(interactions(*args, **kwargs))
    rows.sort()
    return rows


def by_pair(rows, labels):
    """{(raw user, raw item): label}"""
    users, items = rows.user_ids.to_pylist(), rows.item_ids.to_pylist()
    return {(users[u], items[i]): int(s) for u, i, s in zip(rows.user, rows.item, labels, strict=True)}


def all_splits(rows, seed=3):
    numbers = noise(rows, seed)
    return [
        splits.global_time(rows.columns["timestamp"], 4, 4),
        splits.leave_last_out(rows.user, rows.time, 1, 1),
        splits.leave_last_out(rows.user, rows.time, 0.2, 0.2),
        splits.random(rows.user, numbers, 0.1, 0.1),
        splits.official(rows.user, rows.columns["split"], numbers, 0.1),
        splits.cold(rows.item, item_noise(rows, seed), 0.2, 0.2),
        splits.cold(rows.user, user_noise(rows, seed), 0.2, 0.2),
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_any_order_of_rows_gives_the_same_split(seed, data):
    random = np.random.default_rng(seed)
    pairs = [(f"u{p // 9}", f"i{p % 9}") for p in random.permutation(72)[:40]]
    time, part = random.permutation(40) // 2, random.choice([0, 2], 40)  # many ties
    order = data.draw(st.permutations(range(40)))
    first = sorted_rows(pairs, timestamp=time, split=part)
    second = sorted_rows([pairs[o] for o in order], timestamp=time[order], split=part[order])
    for one, other in zip(all_splits(first), all_splits(second), strict=True):
        assert by_pair(first, one) == by_pair(second, other)


def test_global_time_cuts_in_time_and_keeps_equal_times_together():
    time = np.array([5, 1, 2, 3, 3, 3, 4, 0, 6, 7])
    labels = splits.global_time(time, 0.3, 0.2)
    assert labels.tolist() == [VAL, TRAIN, TRAIN, VAL, VAL, VAL, VAL, TRAIN, TEST, TEST]
    # by number of rows
    assert (splits.global_time(time, 1, 2) == TEST).sum() == 2
    assert (splits.global_time(time, 1, 2) == VAL).sum() == 1


def test_global_time_without_val_or_test():
    time = np.arange(10)
    assert splits.global_time(time, 0, 0.2).tolist() == [TRAIN] * 8 + [TEST] * 2
    assert splits.global_time(time, 0.2, 0).tolist() == [TRAIN] * 8 + [VAL] * 2
    assert splits.global_time(time, 0, 0).tolist() == [TRAIN] * 10


@pytest.mark.parametrize(
    ("time", "val", "test", "message"),
    [
        (None, 0.1, 0.1, "say split: leave_last_out"),
        (np.zeros(20, int), 0.1, 0.1, "no rows for train"),
        (np.array([0, 1, 2, 3, 4, 5, 6, 7, 9, 9]), 0.1, 0.1, "no rows for val"),
        (np.arange(10), 5, 5, "leave none of 10 rows for train"),
    ],
)
def test_global_time_says_what_it_cannot_cut(time, val, test, message):
    with pytest.raises(InputError, match=message):
        splits.global_time(time, val, test)


def test_leave_last_out_takes_the_newest_and_breaks_ties_by_item():
    pairs = [("a", "x"), ("a", "z"), ("a", "y"), ("a", "w"), ("b", "x"), ("b", "y")]
    rows = sorted_rows(pairs, order=[1, 2, 2, 0, 1, 2])
    labels = by_pair(rows, splits.leave_last_out(rows.user, rows.time, 1, 1))
    assert labels[("a", "z")] == TEST and labels[("a", "y")] == VAL  # tied: z comes after y
    assert labels[("a", "x")] == labels[("a", "w")] == TRAIN
    assert labels[("b", "x")] == labels[("b", "y")] == TRAIN  # too short for both parts
    with pytest.raises(InputError, match="split: random"):
        splits.leave_last_out(rows.user, None, 1, 1)


@pytest.mark.parametrize(
    ("rows", "train", "val", "test"),
    [(1, 1, 0, 0), (2, 2, 0, 0), (3, 1, 1, 1), (10, 8, 1, 1), (29, 25, 2, 2), (30, 24, 3, 3)],
)
def test_random_shares(rows, train, val, test):
    user = np.zeros(rows, np.int32)
    numbers = np.random.default_rng(0).integers(0, 2**63, rows).astype(np.uint64)
    labels = splits.random(user, numbers, 0.1, 0.1)
    assert np.bincount(labels, minlength=3).tolist() == [train, val, test]
    assert numbers[labels == TEST].min(initial=2**64 - 1) >= numbers[labels != TEST].max()


def test_random_depends_on_the_seed_only():
    rows = Rows(random_interactions())
    rows.sort()
    one, same, other = (splits.random(rows.user, noise(rows, seed), 0.1, 0.1) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_random_is_even():
    """Held-out rows are no function of the item: each item is held out about equally often."""
    users, items = 400, 20
    rows = sorted_rows([(f"u{u}", f"i{i}") for u in range(users) for i in range(items)])
    labels = splits.random(rows.user, noise(rows, 0), 0, 0.25)
    held = np.bincount(rows.item[labels == TEST], minlength=items)
    expected = users * 0.25
    assert ((held - expected) ** 2 / (expected * 0.75)).sum() < 55  # chi-square, 20 degrees, p ~ 4e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(0.1, 0.1), (0.3, 0.5), (2, 3), (0, 0.25), (0.25, 0), (0, 0), (1, 0.2)]))
def test_the_cold_split_holds_out_whole_items(seed, sizes):
    rows = Rows(random_interactions(seed=seed))
    rows.sort()
    rows.keep(rows.item % 3 > 0)  # some items are left without rows
    labels = splits.cold(rows.item, item_noise(rows, seed), *sizes)
    part = [set(rows.item[labels == label].tolist()) for label in (TRAIN, VAL, TEST)]
    assert not (part[0] & part[1] or part[0] & part[2] or part[1] & part[2])
    items = len(set(rows.item.tolist()))
    expected = [size if size >= 1 else int(size * items + 1e-9) for size in sizes]
    assert [len(part[1]), len(part[2])] == expected


def test_cold_items_are_random_and_leave_some_to_train():
    rows = sorted_rows([("u", f"i{i}") for i in range(500)])
    one, other = (splits.cold(rows.item, item_noise(rows, seed), 0, 0.2) == TEST for seed in (0, 1))
    assert one.sum() == other.sum() == 100
    assert 5 < (one & other).sum() < 40  # 20 by chance
    with pytest.raises(InputError, match=r"val: 0\.1 and test: 499 leave none of 500 items for train"):
        splits.cold(rows.item, item_noise(rows, 0), 0.1, 499)


def test_official_cuts_val_out_of_train_only():
    rows = sorted_rows([(f"u{u}", f"i{i}") for u in range(5) for i in range(10)], split=np.tile([0] * 8 + [2] * 2, 5))
    part, numbers = rows.columns["split"], noise(rows, 0)
    labels = splits.official(rows.user, part, numbers, 0.25)
    assert ((labels == TEST) == (part == TEST)).all()
    assert np.bincount(rows.user[labels == VAL]).tolist() == [2] * 5
    assert (splits.official(rows.user, part, numbers, 0) == part).all()
    own = np.where(labels == VAL, VAL, part).astype(np.int8)
    assert (splits.official(rows.user, own, noise(rows, 9), 0.5) == own).all()  # the publisher's val stays
    with pytest.raises(InputError, match="no official split"):
        splits.official(rows.user, None, numbers, 0.1)


def test_blocks_of_users_change_nothing(monkeypatch):
    rows = Rows(random_interactions(users=60, rows=900))
    rows.sort()
    whole = splits.leave_last_out(rows.user, rows.time, 0.1, 0.2)
    for block in (1, 7, 100):
        monkeypatch.setattr(splits, "BLOCK", block)
        monkeypatch.setattr(rows_module, "BLOCK", block)
        assert (splits.leave_last_out(rows.user, rows.time, 0.1, 0.2) == whole).all()


def test_only_what_is_able_is_held_out():
    rows = Rows(random_interactions(users=50, items=40, rows=900))
    rows.sort()
    able = np.bincount(rows.user, minlength=50) > 18
    labels = splits.cold(rows.user, user_noise(rows, 1), 0.3, 3, able)
    held = [set(rows.user[labels == label].tolist()) for label in (VAL, TEST)]
    assert [len(part) for part in held] == [int(0.3 * able.sum()), 3]
    assert all(able[list(part)].all() for part in held) and not held[0] & held[1]
    with pytest.raises(InputError, match=r"val: 0\.1 and test: 0\.1 leave none of 0 users with more than 90 rows for"):
        splits.cold(rows.user, user_noise(rows, 1), 0.1, 0.1, able & False, "users with more than 90 rows")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=30))
def test_positives_before_are_counted(rows):
    code, key, positive = (np.array([row[column] for row in rows], int) for column in range(3))
    expected = [
        sum(p for n, (c, k, p) in enumerate(rows) if c == code[row] and (k, n) < (key[row], row))
        for row in range(len(rows))
    ]
    assert splits.positives_before(code, key, positive.astype(bool)).tolist() == expected
