"""Checks of time: what models see is not later than what they are to find, where the split says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.audit.case import Case, Finding, Found, Mask
from recsys_lightning.data.audit.future import future
from recsys_lightning.schema import SPLITS, TEST, TRAIN, VAL

_BY_USER = ("global_time", "leave_last_out", "user_cold", "target_cold")
"""Splits that promise it of the rows of a user, within a domain."""

NO_TIME = "the rows have neither timestamps nor an order"
NO_CLOCK = "the rows have no timestamps"


def later_history(case: Case) -> Found:
    """Train and given rows that are later than a held-out row of the same user."""
    time = case.rows.time
    if time is None:
        return NO_TIME
    newest = _newest(time, case.seen, case.user_domain)
    promised, found = case.recipe.split in _BY_USER, []
    for name, mask in case.held_parts():
        older = mask & (time < newest[case.user_domain])
        if count := int(older.sum()):
            what = f"{count:,} of {int(mask.sum()):,} {name} rows ({count / mask.sum():.1%}) are older than a train or"
            message = f"{what} given row of the same user{case.place}{_unless(promised, case)}"
            found.append(Finding(count, message, case.pairs(older) if promised else (), fault=promised))
    return found


def later_val(case: Case) -> Found:
    """Val rows that are later than a test row of the same user: what is selected by them was selected afterwards."""
    time, val, test = case.rows.time, case.part == SPLITS.index(VAL), case.part == SPLITS.index(TEST)
    if time is None:
        return NO_TIME
    if not val.any() or not test.any():
        return f"there are no {'test' if val.any() else 'val'} rows"
    older = test & (time < _newest(time, val, case.user_domain)[case.user_domain])
    if not (count := int(older.sum())):
        return []
    promised = case.recipe.split in _BY_USER
    message = f"{count:,} test rows are older than a val row of the same user{case.place}{_unless(promised, case)}"
    return [Finding(count, message, case.pairs(older) if promised else (), fault=promised)]


def later_elsewhere(case: Case) -> Found:
    """Train rows in one domain that are later than a held-out row of the same user in another."""
    time, user, recipe = case.rows.time, case.rows.user, case.recipe
    if not case.prepared.domains:
        return "there is one domain"
    if time is None:
        return NO_TIME
    own = time < _newest(time, case.seen, case.user_domain)[case.user_domain]
    older = case.held & ~own & (time < _newest(time, case.seen, user)[user])
    if not (count := int(older.sum())):
        return []
    cut = recipe.split in ("leave_last_out", "target_cold") and recipe.later_rows == "drop"
    promised = cut or recipe.split == "global_time"
    kept = ", as data.recipe.later_rows says keep" if recipe.later_rows == "keep" else _unless(promised, case)
    message = f"{count:,} held-out rows are older than a train row of the same user in another domain{kept}"
    return [Finding(count, message, case.pairs(older) if promised else (), fault=promised)]


def one_cut(case: Case) -> Found:
    """Rows of an earlier part that are not older than all rows of a later one, whoever's they are."""
    time = case.rows.timestamp
    if case.recipe.split != "global_time":
        return f"only global_time cuts everybody's rows at one moment, and the split is {case.recipe.split}"
    if time is None:
        return NO_CLOCK
    found = []
    for earlier, later in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)):
        before, after = case.part == SPLITS.index(earlier), case.part == SPLITS.index(later)
        if not before.any() or not after.any():
            continue
        crossing = before & (time >= time[after].min())
        if count := int(crossing.sum()):
            message = f"{count:,} {earlier} rows are not older than the oldest {later} row"
            found.append(Finding(count, message, case.pairs(crossing)))
    return found


def future_items(case: Case) -> Found:
    """Items that first appear after a test row, and are ranked for it all the same."""
    figures = future(case.rows)
    if figures is None:
        return NO_CLOCK if case.rows.timestamp is None else "there are no test rows"
    if not figures.items:
        return []
    message = f"{figures.items:.1%} of the items, on average over test rows, first appear after the test row"
    return [Finding(max(1, round(figures.items * case.rows.num_items)), message, fault=False)]


def tied_times(case: Case) -> Found:
    """Users whose last rows are of one time, so that their ids decided what is held out."""
    time = case.rows.time
    if case.recipe.split not in ("leave_last_out", "target_cold"):
        return f"{case.recipe.split} does not cut the rows of a user by time, or leaves those of one time together"
    if time is None:
        return NO_TIME
    last = case.part == SPLITS.index(TEST)
    last = last if last.any() else case.held
    newest, oldest = _newest(time, ~last, case.user_domain), -_newest(-time, last, case.user_domain)
    cut = np.unique(case.user_domain[last])
    cut = cut[newest[cut] > np.iinfo(np.int64).min]
    tied = newest[cut] == oldest[cut]
    if not (count := int(tied.sum())):
        return []
    message = (
        f"the cut of {count:,} of {len(cut):,} users{case.place} ({tied.mean():.1%}) lies between rows of one time: "
        "their order is that of item ids"
    )
    rows = np.flatnonzero(last & np.isin(case.user_domain, cut[tied]))
    return [Finding(count, message, case.pairs(rows), fault=bool(tied.mean() > 0.5))]


def stopped_clock(case: Case) -> Found:
    """Timestamps most of which are one and the same: no moment at which something happened."""
    time = case.rows.timestamp
    if time is None:
        return NO_CLOCK
    value, counts = np.unique(time, return_counts=True)
    most = counts.argmax()
    if len(time) < 2 or counts[most] <= len(time) / 2:
        return []
    split = case.recipe.split
    message = (
        f"{counts[most]:,} of {len(time):,} rows ({counts[most] / len(time):.1%}) have the timestamp {value[most]}"
    )
    return [Finding(int(counts[most]), message, fault=split in ("global_time", "leave_last_out", "target_cold"))]


def late_shots(case: Case) -> Found:
    """Rows of a held-out item that train is given though they are later than those to be found."""
    time = case.rows.timestamp
    if case.recipe.split != "item_cold":
        return f"the split is {case.recipe.split}"
    if time is None:
        return NO_CLOCK
    older = case.held & (time < _newest(time, case.part == SPLITS.index(TRAIN), case.rows.item)[case.rows.item])
    if not (count := int(older.sum())):
        return []
    message = f"{count:,} held-out rows are older than a train row of the same held-out item"
    return [Finding(count, message, case.pairs(older))]


def _newest(time: NDArray[np.int64], mask: Mask, group: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.int64]:
    """By group, the newest time of the masked rows; the least number where a group has none."""
    newest = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, group[mask], time[mask])
    return newest


def _unless(promised: bool, case: Case) -> str:
    return "" if promised else f": the split {case.recipe.split} keeps no order in time"
