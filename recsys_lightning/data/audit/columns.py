"""Checks of the table of items: nothing in it was made of held-out rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.audit.case import EXAMPLES, Case, Finding, Found, Mask
from recsys_lightning.data.rows import count
from recsys_lightning.schema import ITEM_ID, SPLITS, TEST, TITLE, TRAIN, USER_ID

Numbers = NDArray[np.float64]

_LEAST = 30
"""Fewer items tell nothing."""

_EXPLAINED = 0.95
"""Correlation from which on a column is taken to be made of held-out rows: honest ones stay below a half of it."""


def counted_columns(case: Case) -> Found:
    """Numbers that are counts or mean ratings with held-out rows among them.

    What a column holds beyond the same of train (both less their linear fits on it) is compared with what the held-out
    rows would have added: a correlation of 0.95, of values and of ranks, is no chance.
    """
    items, found = case.prepared.items, list[Finding]()
    columns = [name for name in items if pd.api.types.is_numeric_dtype(items[name]) and items[name].dtype != np.bool_]
    if not columns:
        return "the items have no columns of numbers"
    told = list(_told(case))
    for name in columns:
        values = items[name].to_numpy(np.float64, na_value=np.nan)
        for what, known, base, target in told:
            chosen = known & np.isfinite(values)
            if chosen.sum() >= _LEAST and _explains(values[chosen], base[chosen], target[chosen]):
                message = f"the column {name} follows {what} beyond what train tells"
                found.append(Finding(int(chosen.sum()), message))
                break
    return found


def _told(case: Case) -> Iterator[tuple[str, Mask, Numbers, Numbers]]:
    """What a column might hold: in words, of which items, the same of train, the same with held-out rows."""
    rows, size = case.rows, case.prepared.num_items
    train, test = (case.part == SPLITS.index(name) for name in (TRAIN, TEST))
    in_train = count(rows.item[train], size).astype(np.float64)
    chosen = (("test", test), ("val and test", case.held))
    for what, mask in chosen:
        held = count(rows.item[mask], size).astype(np.float64)
        yield f"how many {what} rows an item has", np.ones(size, np.bool_), in_train, held
    if rows.rating is None:
        return
    total = np.bincount(rows.item[train], rows.rating[train], size)
    mean = total / np.maximum(in_train, 1)
    for what, mask in chosen:
        held = count(rows.item[mask], size).astype(np.float64)
        added = np.bincount(rows.item[mask], rows.rating[mask], size)
        yield (
            f"the mean rating of an item with its {what} rows",
            (in_train > 0) & (held > 0),
            mean,
            (total + added) / np.maximum(in_train + held, 1),
        )


def _explains(values: Numbers, base: Numbers, target: Numbers) -> bool:
    """Whether values and target are one but for their linear fits on the base."""
    a, b = _beyond(values, base), _beyond(target, base)
    return all(_correlation(*pair) >= _EXPLAINED for pair in ((a, b), (_ranks(a), _ranks(b))))


def _beyond(column: Numbers, base: Numbers) -> Numbers:
    """What a linear fit on the base leaves."""
    centred = base - base.mean()
    slope = centred @ column / max(centred @ centred, 1e-300)
    left: Numbers = column - column.mean() - slope * centred
    left[np.abs(left) < 1e-9 * max(1.0, np.abs(column).max())] = 0
    return left


def _ranks(values: Numbers) -> Numbers:
    ranks: Numbers = pd.Series(values.round(9)).rank().to_numpy().astype(np.float64)
    return ranks


def _correlation(a: Numbers, b: Numbers) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def named_users(case: Case) -> Found:
    """Texts of an item that name a user of whom a row with this very item is held out."""
    rows, items = case.rows, case.prepared.items
    users = case.prepared.users[USER_ID].astype(str).str.casefold()
    telling = users.map(_tells).to_numpy(np.bool_)
    if not telling[rows.user[case.held]].any():
        return "ids of users are plain numbers, or short, and stand in texts by chance"
    code = {name: place for place, name in enumerate(users) if telling[place]}
    named: list[tuple[int, int]] = []
    for name in items.columns.drop([ITEM_ID, TITLE], errors="ignore"):
        if pd.api.types.is_numeric_dtype(items[name]):
            continue
        for item, value in enumerate(items[name]):
            words = set(re.findall(r"[\w-]+", _text(value).casefold()))
            named += [(code[word], item) for word in words if word in code]
    if not named:
        return []
    pairs = np.array(named, np.int64)
    pair = rows.user.astype(np.int64) * rows.num_items + rows.item
    told = case.held & np.isin(pair, pairs @ [rows.num_items, 1])
    if not (number := int(told.sum())):
        return []
    message = f"{number:,} held-out rows are told by texts: those of the item name the user"
    return [Finding(number, message, case.pairs(told)[:EXAMPLES])]


def _tells(name: str) -> bool:
    """Whether an id is hardly a word or a number of a text."""
    return len(name) >= 4 and any(c.isalpha() for c in name) and any(c.isdigit() for c in name)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return " ".join(map(str, value)) if isinstance(value, list) else ""


def later_columns(case: Case) -> Found:
    """Columns that were gathered after the interactions, among those that models are given."""
    later = [name for name in case.prepared.later if name in case.used]
    if not later:
        return []
    message = f"models are given {', '.join(later)}: gathered after the interactions, they tell of the future"
    return [Finding(len(later), message, fault=False)]
