"""Checks of who is held out: somebody is, nobody is known who is to be new, nor unknown unless the split says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.audit.case import EXAMPLES, Case, Finding, Found, Mask
from recsys_lightning.data.recipe import ALL
from recsys_lightning.data.rows import count
from recsys_lightning.schema import GIVEN, ITEM_ID, SPLITS, TEST, TRAIN, USER_ID, VAL


def empty_parts(case: Case) -> Found:
    """Val or test without rows: there is nothing to select by, or to measure."""
    recipe, found = case.recipe, list[Finding]()
    for name, size, fault in ((VAL, recipe.val, False), (TEST, recipe.test, True)):
        if (case.part == SPLITS.index(name)).any():
            continue
        promised = size > 0 or (name == TEST and recipe.split == "official")
        why = (
            "though the split promises some: too few are left to hold any out" if promised else "as none are asked for"
        )
        found.append(Finding(1, f"there are no {name} rows, {why}", fault=fault and promised))
    return found


def known_users(case: Case) -> Found:
    """Users who are held out as a whole, and have train rows."""
    if case.recipe.split != "user_cold":
        return f"the split is {case.recipe.split}"
    users, train = case.prepared.num_users, case.part == SPLITS.index(TRAIN)
    new = count(case.rows.user[~train], users) > 0
    known = np.flatnonzero(new & (count(case.rows.user[train], users) > 0))
    if not len(known):
        return []
    message = f"{len(known):,} users of whom rows are held out or given have train rows, and are to be new"
    return [Finding(len(known), message, _names(case.prepared.users[USER_ID], known))]


def more_shots(case: Case) -> Found:
    """Users or items of whom more rows are known than `shots` says; or given rows where no split gives any."""
    recipe, found = case.recipe, list[Finding]()
    given = case.part == SPLITS.index(GIVEN)
    if recipe.split != "user_cold":
        if given.any():
            message = f"{int(given.sum()):,} rows are given, and the split {recipe.split} gives none"
            found.append(Finding(int(given.sum()), message, case.pairs(given)))
        if recipe.split not in ("item_cold", "target_cold"):
            return found or f"the split {recipe.split} holds out neither users nor items as a whole"
    if recipe.shots == ALL:
        return found or "all earlier rows are to be known"
    seen, what, codes, ids = _shots(case)
    held = count(codes[case.held], len(ids)) > 0
    known = count(codes[seen], len(ids))
    over = np.flatnonzero(held & (known > recipe.num_shots))
    if len(over):
        message = f"{len(over):,} held-out {what} have more than {recipe.num_shots} known rows"
        found.append(Finding(len(over), message, _names(ids, over)))
    return found


def outside_target(case: Case) -> Found:
    """Held-out rows outside the domain in which users are to be new."""
    target, domain = case.recipe.target, case.prepared.domain
    if target is None or domain is None:
        return "no domain is a target"
    outside = case.held & (domain[case.rows.item] != case.prepared.domains.index(target))
    if not (number := int(outside.sum())):
        return []
    return [Finding(number, f"{number:,} held-out rows are not in {target}", case.pairs(outside))]


def cold_users(case: Case) -> Found:
    """Users with held-out rows of whom train has none."""
    return _cold(case, case.rows.user, case.prepared.users[USER_ID], "user")


def cold_items(case: Case) -> Found:
    """Items with held-out rows of which train has none: only models of attributes can tell anything of them."""
    return _cold(case, case.rows.item, case.prepared.items[ITEM_ID], "item")


def _shots(case: Case) -> tuple[Mask, str, NDArray[np.int32], pd.Series]:
    """The rows that count as shots, and whose they are."""
    rows, prepared, split = case.rows, case.prepared, case.recipe.split
    seen = prepared.positives(GIVEN if split == "user_cold" else TRAIN)
    if split == "item_cold":
        return seen, "items", rows.item, prepared.items[ITEM_ID]
    if split == "target_cold" and prepared.domain is not None and case.recipe.target is not None:
        seen = seen & (prepared.domain[rows.item] == prepared.domains.index(case.recipe.target))
    return seen, "users", rows.user, prepared.users[USER_ID]


def _cold(case: Case, codes: NDArray[np.int32], ids: pd.Series, what: str) -> list[Finding]:
    train, given = (case.part == SPLITS.index(name) for name in (TRAIN, GIVEN))
    cold = np.flatnonzero((count(codes[case.held], len(ids)) > 0) & ~(count(codes[train], len(ids)) > 0))
    if not len(cold):
        return []
    message = f"{len(cold):,} {what}s have held-out rows and no train rows"
    if known := int((count(codes[given], len(ids))[cold] > 0).sum()):
        message += f", {known:,} of them with given rows"
    return [Finding(len(cold), message, _names(ids, cold), fault=False)]


def _names(ids: pd.Series, codes: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(ids[codes[:EXAMPLES]])
