"""User histories: the most recent rows of each user as padded tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lightning.batches import History
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.rows import Codes, count, offsets, order_within

SECONDS_PER_HOUR = 3600


def histories(rows: Interactions, length: int, levels: NDArray[np.float32], buckets: int) -> History:
    """The last `length + 1` rows of each user, oldest first; rows of equal time in the order of their items.

    Rows without any time are taken in the order of their items. The time bucket of an entry is
    1 + min(buckets - 1, floor(log2(1 + gap))), gap being what lies between it and the user's newest entry: hours where
    there are timestamps, places in the history where there is only an order, 0 where there is neither. `time_before`
    counts from the newest entry but one.

    Args:
        rows: sorted by (user, item); visible ones only.
        length: L; one entry more is kept, for when another is left out.
        levels: at most 127 rating levels, ascending. A rating between two counts as the lower one, one below all as
            the first.
        buckets: number of time buckets.
    """
    degree = count(rows.user, rows.num_users)
    crow = offsets(degree)
    from_end = np.repeat(crow[1:], degree) - np.arange(len(rows))  # 1 for a user's last row
    kept = from_end <= length + 1
    source = (np.arange(len(rows)) if rows.time is None else order_within(crow, rows.time))[kept]
    mask = np.arange(length + 1) < np.minimum(degree, length + 1)[:, None]
    # the kept rows, by user and then from old to new, are the True places of the mask row by row
    item = _fill(mask, rows.item[source], rows.num_items)
    rating = _fill(mask, _levels(rows, source, levels), 0)
    time, before = (_fill(mask, _buckets(rows, source, from_end[kept], buckets, newest), 0) for newest in (1, 2))
    by_place = np.array(rows.timestamp is None and rows.order is not None)
    return History(*(torch.from_numpy(array) for array in (item, rating, time, before, mask, by_place)))


def _fill(mask: NDArray[np.bool_], values: NDArray[Any], padding: int) -> NDArray[np.int64]:
    out = np.full(mask.shape, padding, np.int64)
    out[mask] = values
    return out


def _levels(rows: Interactions, source: NDArray[np.int64], levels: NDArray[np.float32]) -> Codes:
    if rows.rating is None:
        return np.ones(len(source), np.int64)
    rating = rows.rating[source]
    level = np.zeros(len(source), np.int8)  # counting a few levels is ten times faster than searching them
    for least in levels:
        level += (rating >= least).view(np.int8)
    return level.clip(1)


def _buckets(
    rows: Interactions, source: NDArray[np.int64], from_end: NDArray[np.int64], buckets: int, newest: int
) -> Codes:
    """Buckets of the gap to each user's entry that is number `newest` from the end; 0 for entries after that one."""
    if rows.time is None:
        return (from_end >= newest).astype(np.int64)
    gap = from_end - newest
    if rows.timestamp is not None:
        time = rows.timestamp[source]
        ends = np.flatnonzero(from_end == 1)
        degree = np.diff(ends, prepend=-1)
        reference = time[np.maximum(ends - (newest - 1), ends - degree + 1)]
        gap = (
            np.repeat(reference, degree) - time
        ) // SECONDS_PER_HOUR  # whole hours have the same floor(log2(1 + gap))
    # frexp writes 1 + gap as m * 2^e with 1/2 <= m < 1, exactly: e is 1 + floor(log2(1 + gap))
    bucket = np.frexp(1 + np.maximum(gap, 0))[1].clip(max=buckets)
    return np.where(from_end >= newest, bucket, 0)
