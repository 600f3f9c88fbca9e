"""Checks of pairs: each stands in one split, once; and of the books that were kept of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.audit.case import Case, Finding, Found
from recsys_lightning.data.prepared import fingerprint
from recsys_lightning.data.rows import distinct
from recsys_lightning.schema import SPLITS, TRAIN


def duplicates(case: Case) -> Found:
    """Pairs that stand in a split more than once: in train they weigh double, in test they are counted twice."""
    order, again = _repeated(case)
    part, found = case.part[order], []
    for code, name in enumerate(SPLITS):
        own = order[1:][again & (part[1:] == code) & (part[:-1] == code)]
        if len(own):
            message = f"{len(own):,} rows of {name} repeat a (user, item) pair of {name}"
            found.append(Finding(len(own), message, case.pairs(own)))
    return found


def overlap(case: Case) -> Found:
    """Pairs that stand in two splits: what is to be found is known then."""
    order, again = _repeated(case)
    part, found = case.part[order], []
    for a, b in combinations(range(len(SPLITS)), 2):
        own = order[1:][again & (part[:-1] == a) & (part[1:] == b)]
        if len(own):
            message = f"{len(own):,} (user, item) pairs stand in {SPLITS[a]} and in {SPLITS[b]}"
            found.append(Finding(len(own), message, case.pairs(own)))
    return found


def _repeated(case: Case) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) rows by pair and split, and (N - 1,) whether each but the first has the pair of the one before it."""
    pair = case.rows.user.astype(np.int64) * case.rows.num_items + case.rows.item
    order = np.lexsort((case.part, pair))
    return order, pair[order][1:] == pair[order][:-1]


def books(case: Case) -> Found:
    """Rows that came, went or changed since the fingerprint was taken and the splits were counted."""
    prepared, rows, found = case.prepared, case.rows, []
    for entry in prepared.steps:
        if entry.name not in SPLITS:
            continue
        mask = prepared.mask(entry.name)
        here = int(mask.sum()), distinct(rows.user[mask]), distinct(rows.item[mask])
        if here != (entry.rows, entry.users, entry.items):
            told = f"{entry.rows:,} rows of {entry.users:,} users and {entry.items:,} items"
            message = f"{entry.name} was made of {told}, and holds {here[0]:,} of {here[1]:,} and {here[2]:,}"
            found.append(Finding(abs(here[0] - entry.rows), message))
    if (now := fingerprint(rows, prepared.positive)) != prepared.fingerprint:
        message = f"the rows have the fingerprint {now[:16]}, and {prepared.fingerprint[:16]} is written on them"
        found.append(Finding(1, message))
    return found


def index_order(case: Case) -> Found:
    """Indices of users or items that are in another order than that of raw ids, those of train first.

    Whatever else they follow, such as how often an item is tested, a model can read from its row.
    """
    rows, train, found = case.rows, case.part == SPLITS.index(TRAIN), []
    for what, codes, ids in (("users", rows.user, rows.user_ids), ("items", rows.item, rows.item_ids)):
        known = np.zeros(len(ids), np.bool_)
        known[codes[train]] = True
        names = np.array([name.encode() for name in ids.to_pylist()], object)
        head = int(known.sum())
        sorted_parts = all((part[1:] >= part[:-1]).all() for part in (names[:head], names[head:]))
        if not known[:head].all():
            found.append(Finding(int((~known[:head]).sum()), f"{what} unseen in train stand before those of train"))
        elif not sorted_parts:
            found.append(Finding(1, f"{what} stand in another order than that of their ids"))
    return found
