"""What is wrong with this split? Leaks, duplicates and twins as findings, and a report for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.rows import count
from recsys_lightning.data.twins import same_audience, same_title
from recsys_lightning.schema import GIVEN, ITEM_ID, SPLITS, TEST, TITLE, TRAIN, USER_ID

_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a word for programs: `duplicates`, `overlap`, `future_history`, `future_items`, `cold_users`,
            `cold_items`, `same_title` or `same_audience`.
        count: how often it occurs.
        message: a sentence for people.
        examples: a few raw ids or titles.
    """

    kind: str
    count: int
    message: str
    examples: tuple[str, ...] = ()


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


def audit(interactions: Interactions, items: pd.DataFrame, users: pd.DataFrame) -> list[Finding]:
    """Everything that is wrong with a split; an empty list where nothing is.

    Args:
        interactions: with `split`, in any order of rows.
        items: row r describes item r, with `item_id` and `title`.
        users: row r describes user r, with `user_id`.
    """
    part = interactions.split
    if part is None:
        raise ValueError("there is no split to audit")
    return [
        *_pairs(interactions, part, items, users),
        *_future(interactions),
        *_cold(interactions.user, part, users[USER_ID], "user"),
        *_cold(interactions.item, part, items[ITEM_ID], "item"),
        *_twins(interactions, items),
    ]


def report(prepared: Prepared) -> str:
    """Steps of the preparation, figures on the future, and all findings, as Markdown."""
    rows = prepared.interactions
    findings = audit(rows, prepared.items, prepared.users)
    lines = [
        f"# {prepared.name}: {prepared.split}",
        "",
        f"fingerprint {prepared.fingerprint[:16]}",
        "",
        "| step | rows | users | items | note |",
        "|---|---:|---:|---:|---|",
        *(f"| {s.name} | {s.rows:,} | {s.users:,} | {s.items:,} | {s.note} |" for s in prepared.steps),
        "",
    ]
    if (older := history(rows)) is not None:
        lines.append(f"Test rows older than some train row of the same user: {older:.1%}.")
        if (figures := future(rows)) is not None:
            lines[-1] += f" Items that first appear after a test row, on average: {figures.items:.1%}."
        lines.append("")
    lines += [f"* {finding.kind}: {finding.message}{_listed(finding.examples)}" for finding in findings]
    return "\n".join(lines if findings else [*lines, "No findings."])


def _pairs(rows: Interactions, part: NDArray[np.int8], items: pd.DataFrame, users: pd.DataFrame) -> list[Finding]:
    """Pairs that stand in a split more than once, or in more than one split."""
    pair = rows.user.astype(np.int64) * rows.num_items + rows.item
    order = np.lexsort((part, pair))
    again = pair[order][1:] == pair[order][:-1]
    elsewhere = part[order][1:] != part[order][:-1]
    found = []
    for kind, mask, what in (
        ("duplicates", again & ~elsewhere, "(user, item) pairs are repeated within a split"),
        ("overlap", again & elsewhere, "(user, item) pairs stand in more than one split, so train tells the answer"),
    ):
        if mask.any():
            chosen = order[1:][mask][:_EXAMPLES]
            examples = tuple(
                f"{users[USER_ID][u]}, {items[ITEM_ID][i]}"
                for u, i in zip(rows.user[chosen], rows.item[chosen], strict=True)
            )
            found.append(Finding(kind, int(mask.sum()), f"{int(mask.sum()):,} {what}", examples))
    return found


def _future(rows: Interactions) -> list[Finding]:
    older = history(rows)
    if not older:
        return []
    assert rows.split is not None
    tests = int((rows.split == SPLITS.index(TEST)).sum())
    message = f"{older:.1%} of the test rows are older than a train row of the same user"
    return [Finding("future_history", round(older * tests), message)]


def _cold(codes: NDArray[np.int32], part: NDArray[np.int8], ids: pd.Series, what: str) -> list[Finding]:
    in_train = count(codes[part == SPLITS.index(TRAIN)], len(ids)) > 0
    given = part == SPLITS.index(GIVEN)
    in_held_out = count(codes[(part != SPLITS.index(TRAIN)) & ~given], len(ids)) > 0
    cold = np.flatnonzero(in_held_out & ~in_train)
    if not len(cold):
        return []
    message = f"{len(cold):,} {what}s have held-out rows and no train rows"
    if known := int((count(codes[given], len(ids))[cold] > 0).sum()):
        message += f", {known:,} of them with given rows"
    return [Finding(f"cold_{what}s", len(cold), message, tuple(ids[cold[:_EXAMPLES]]))]


def _twins(rows: Interactions, items: pd.DataFrame) -> list[Finding]:
    titles, ids = items[TITLE], items[ITEM_ID]
    found = []
    for kind, pairs, what in (
        ("same_title", same_title(items), "pairs of items have one title"),
        ("same_audience", same_audience(rows), "pairs of items have nearly the same users"),
    ):
        if len(pairs):
            examples = tuple(f"{titles[a]} ({ids[a]}) = {titles[b]} ({ids[b]})" for a, b in pairs[:_EXAMPLES])
            found.append(Finding(kind, len(pairs), f"{len(pairs):,} {what}", examples))
    return found


def _listed(examples: Sequence[str]) -> str:
    return f"; for instance {'; '.join(examples)}" if examples else ""
