"""How much of what a model learns lies after the moment it is tested on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.schema import GIVEN, SPLITS, TEST, TRAIN


class Future(NamedTuple):
    """How much of what a model learns lies after the moment it is tested on.

    Attributes:
        tests: number of test rows.
        history: share of the test rows that are older than at least one train or given row of the same user.
        items: mean, over the test rows, of the share of all items whose first row in any split is newer than the
            test row: items that did not exist then, and can be ranked all the same.
    """

    tests: int
    history: float
    items: float


def history(interactions: Interactions) -> float | None:
    """Share of the test rows that are older than a train or given row of the same user, in whatever domain.

    None without test rows, or where neither a clock nor an order tells.
    """
    time, part = interactions.time, interactions.split
    if time is None or part is None or not (part == SPLITS.index(TEST)).any():
        return None
    train, test, given = (part == SPLITS.index(name) for name in (TRAIN, TEST, GIVEN))
    seen, newest = train | given, np.full(interactions.num_users, np.iinfo(np.int64).min)
    np.maximum.at(newest, interactions.user[seen], time[seen])
    return float((time[test] < newest[interactions.user[test]]).mean())


def future(interactions: Interactions) -> Future | None:
    """Both figures; None without timestamps or test rows."""
    time, part, older = interactions.timestamp, interactions.split, history(interactions)
    if time is None or part is None or older is None:
        return None
    test = part == SPLITS.index(TEST)
    first = np.full(interactions.num_items, np.iinfo(np.int64).max)
    np.minimum.at(first, interactions.item, time)
    existing = np.searchsorted(np.sort(first), time[test], side="right")
    return Future(
        tests=int(test.sum()),
        history=older,
        items=float(1 - existing.mean() / interactions.num_items),
    )
