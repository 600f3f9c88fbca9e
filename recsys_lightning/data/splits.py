"""Splits: one pure function each, from columns of rows to an int8 label for each row (a position in `schema.SPLITS`).

All but `global_time` ask for rows sorted by (user, item), items coded by rank of their raw ids, as `rows.Rows` holds
them: ties of time are then broken by the raw item id, and the split does not depend on the order of the raw rows.
`val` and `test` are a share of the rows (below 1) or a number of rows (from 1 on), for `cold` of the items or users.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.rows import BLOCK, Codes, count, gather, offsets, order_within
from recsys_lightning.errors import InputError
from recsys_lightning.schema import SPLITS, TEST, TRAIN, VAL

Labels = NDArray[np.int8]
_TRAIN, _VAL, _TEST = (SPLITS.index(name) for name in (TRAIN, VAL, TEST))


def global_time(timestamp: NDArray[np.int64] | None, val: float, test: float) -> Labels:
    """The newest rows of all to test, the newest of the rest to val; rows of the very time of a cut go to the later.

    Raises:
        InputError: there are no timestamps, or they are too coarse to cut.
    """
    if timestamp is None:
        raise InputError(
            "The split global_time needs real timestamps, and these interactions have none. "
            "Name their column in columns.timestamp where the file has one; "
            "else say split: leave_last_out where each user's rows have an order, or split: random."
        )
    rows = len(timestamp)
    test_rows = _size(rows, test)
    later = test_rows + _size(rows, val)
    if later >= rows:
        raise InputError(f"val: {val:g} and test: {test:g} leave none of {rows:,} rows for train.")
    labels = np.zeros(rows, np.int8)
    if not later:
        return labels
    ordered = np.partition(timestamp, sorted({rows - later, min(rows - test_rows, rows - 1)}))
    labels[timestamp >= ordered[rows - later]] = _VAL
    if test_rows:
        labels[timestamp >= ordered[rows - test_rows]] = _TEST
    for label, wanted in ((_TRAIN, True), (_VAL, val > 0), (_TEST, test > 0)):
        if wanted and not (labels == label).any():
            raise InputError(
                f"The split global_time leaves no rows for {SPLITS[label]}: too many rows share one timestamp, "
                f"and rows of one time stay together. Change val: {val:g} and test: {test:g}, "
                "or say split: leave_last_out or split: random."
            )
    return labels


def leave_last_out(user: Codes, time: NDArray[np.int64] | None, val: float, test: float) -> Labels:
    """The last rows of each user to test, those before to val; users with too few rows stay in train.

    Raises:
        InputError: the rows have neither timestamp nor order.
    """
    if time is None:
        raise InputError(
            "The split leave_last_out needs timestamps or an order, and these interactions have neither. "
            "Name their column in columns.timestamp or columns.order where the file has one; else say split: random."
        )
    return _hold_out(user, time, val, test)


def random(user: Codes, noise: NDArray[np.uint32], val: float, test: float) -> Labels:
    """Random rows of each user to test and val: those with the largest random numbers.

    Shares are rounded down to whole rows, but a user with three rows or more gives at least one to each part asked for.

    Args:
        user: (N,) ascending.
        noise: (N,) a random number for each row, such as `rows.noise` makes from raw ids.
        val: share or number.
        test: share or number.
    """
    return _hold_out(user, noise, val, test)


def cold(
    code: Codes,
    noise: NDArray[np.uint64],
    val: float,
    test: float,
    able: NDArray[np.bool_] | None = None,
    what: str = "items",
) -> Labels:
    """All rows of random items, or of random users, to test and val: of those with the largest random numbers.

    Args:
        code: (N,) of the items or users.
        noise: a random number for each, such as `rows.item_noise` makes from raw ids.
        val: share or number of those that can be held out.
        test: share or number.
        able: which of them can be held out; by default all that have rows.
        what: they are, for messages.

    Raises:
        InputError: none is left for train.
    """
    able = count(code, len(noise)) > 0 if able is None else able
    chosen = np.flatnonzero(able)
    tests = _size(len(chosen), test)
    trains = len(chosen) - tests - _size(len(chosen), val)
    if trains < 1:
        raise InputError(f"val: {val:g} and test: {test:g} leave none of {len(chosen):,} {what} for train.")
    by_noise = chosen[np.argsort(noise[chosen], kind="stable")]
    part = np.full(len(noise), _TRAIN, np.int8)
    part[by_noise[trains:]] = _VAL
    part[by_noise[len(chosen) - tests :]] = _TEST
    return gather(part, code)


def positives_before(code: Codes, key: NDArray[Any], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) how many positives come before each row, among the rows of its item (or user) in the order of their keys.

    Args:
        code: (N,) of the items or users.
        key: (N,) what orders rows; equal keys are in the order of the rows.
        positive: (N,) rows that count.
    """
    order = np.lexsort((key, code))
    ones = positive[order].astype(np.int64)
    total = np.cumsum(ones) - ones
    group = code[order]
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if len(group) else np.zeros(0, np.int64)
    before = np.empty(len(code), np.int64)
    before[order] = total - np.repeat(total[first], np.diff(first, append=len(code)))
    return before


def official(user: Codes, label: Labels | None, noise: NDArray[np.uint32], val: float) -> Labels:
    """The publisher's split; where it has no val part, one is cut out of its train part as `random` does it.

    Raises:
        InputError: the source has no official split.
    """
    if label is None:
        raise InputError(
            "This source has no official split. Say split: global_time, leave_last_out, random, item_cold or user_cold."
        )
    if val == 0 or (label == _VAL).any():
        return label.copy()
    train = label == _TRAIN
    labels = label.copy()
    labels[train] = _hold_out(user[train], noise[train], val, 0)
    return labels


def _hold_out(user: Codes, key: NDArray[Any], val: float, test: float) -> Labels:
    """Each user's rows with the largest keys to test, the next to val; equal keys in the order of the rows."""
    if not len(user):
        return np.zeros(0, np.int8)
    degree = count(user, int(user[-1]) + 1)
    tests, vals = _sizes(degree, val, test)
    crow = offsets(degree)
    labels = np.empty(len(user), np.int8)
    for first, last in _user_blocks(crow):
        rows = slice(crow[first], crow[last])
        order = order_within(crow[first : last + 1], key[rows])
        end = np.repeat(crow[first + 1 : last + 1], degree[first:last])
        from_end = end - np.arange(rows.start, rows.stop)  # 1 for a user's last row
        in_test = np.repeat(tests[first:last], degree[first:last])
        in_val = in_test + np.repeat(vals[first:last], degree[first:last])
        labels[rows][order] = np.where(from_end <= in_test, _TEST, np.where(from_end <= in_val, _VAL, _TRAIN))
    return labels


def _sizes(degree: NDArray[np.int64], val: float, test: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(U,) rows of each user for test and for val; both zero for users too short to give them."""
    sizes = []
    for part in (test, val):
        if part < 1:
            least = 1 if part > 0 else 0
            sizes.append(np.where(degree >= 3, np.maximum(np.floor(part * degree + 1e-9).astype(np.int64), least), 0))
        else:
            sizes.append(np.full(len(degree), int(part)))
    enough = sizes[0] + sizes[1] < degree
    return sizes[0] * enough, sizes[1] * enough


def _size(rows: int, part: float) -> int:
    """Rows of a part of the whole."""
    return int(part) if part >= 1 or part == 0 else max(1, int(part * rows + 1e-9))


def _user_blocks(crow: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of whole users with about a block of rows each."""
    edges = np.unique(np.searchsorted(crow, np.arange(0, crow[-1], BLOCK)))
    edges = np.append(edges[edges < len(crow) - 1], len(crow) - 1)
    return ((int(a), int(b)) for a, b in pairwise(edges))
