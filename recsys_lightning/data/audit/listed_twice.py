"""Checks of twins: one thing under two ids, so that the row of the one tells that of the other."""

from __future__ import annotations

import numpy as np

from recsys_lightning.data.audit.case import EXAMPLES, Case, Finding, Found, Mask
from recsys_lightning.data.twins import Pairs, answered, same_audience, same_history, same_title, titled
from recsys_lightning.schema import ITEM_ID, TITLE, USER_ID

_ENOUGH = 1e-3
"""Share of held-out rows from which on it is a fault that their twins are known; fewer change no figure."""


def by_title(case: Case) -> Found:
    """Items of one title: a fault if years or people agree too, and users know the one and are to find the other."""
    items = case.prepared.items
    if not titled(items).any():
        return "the items have no titles"
    pairs, sure = same_title(items), same_title(items, sure=True)
    pairs, sure = pairs[~_across(case, pairs) & ~_among(pairs, sure)], sure[~_across(case, sure)]
    alike = _items(case, sure, "pairs of items have one title, and years or people in common", fault=True)
    return alike + _items(
        case, pairs, "pairs of items have one title, and nothing tells whether they are one thing", fault=False
    )


def by_audience(case: Case) -> Found:
    """Items with nearly the same users, which no titles tell apart: one thing listed again."""
    pairs = same_audience(case.rows)
    pairs = pairs[~_across(case, pairs) & ~_among(pairs, same_title(case.prepared.items))]
    known = titled(case.prepared.items)
    apart = known[pairs].all(1)
    listed = _items(case, pairs[~apart], "pairs of items have nearly the same users", fault=True)
    what = "pairs of items have nearly the same users under other titles, as volumes of a series may"
    return listed + _items(case, pairs[apart], what, fault=False)


def across_domains(case: Case) -> Found:
    """Items that stand in two domains: with one title, or nearly the same users."""
    if not case.prepared.domains:
        return "there is one domain"
    titles, audiences = same_title(case.prepared.items), same_audience(case.rows)
    titles, audiences = titles[_across(case, titles)], audiences[_across(case, audiences)]
    told_apart = titled(case.prepared.items)[audiences].all(1) & ~_among(audiences, titles)
    one, others = audiences[~told_apart], titles[~_among(titles, audiences)]
    found = _items(case, one, "pairs of items of two domains have nearly the same users", fault=True)
    what = "pairs of items of two domains have one title and other users, as a film and its book may"
    return found + _items(case, others, what, fault=False)


def by_history(case: Case) -> Found:
    """Users with nearly the same items: one person twice, who is held out under one id and known under the other."""
    rows, pairs = case.rows, same_history(case.rows)
    if not len(pairs):
        return []
    told = answered(rows.user, rows.item, case.seen, case.held, pairs)
    users = case.prepared.users[USER_ID]
    examples = tuple(f"{users[a]} = {users[b]}" for a, b in pairs[:EXAMPLES])
    message = f"{len(pairs):,} pairs of users have nearly the same items{_told(told, case)}"
    return [Finding(len(pairs), message, examples, _matters(told, case))]


def _items(case: Case, pairs: Pairs, what: str, fault: bool) -> list[Finding]:
    """Pairs of items; a fault, where they can be one, if enough held-out rows are told."""
    if not len(pairs):
        return []
    rows, items = case.rows, case.prepared.items
    told = answered(rows.item, rows.user, case.seen, case.held, pairs)
    names = [i if t == i else f"{t} ({i})" for t, i in zip(items[TITLE], items[ITEM_ID], strict=True)]
    examples = tuple(f"{names[a]} = {names[b]}" for a, b in pairs[:EXAMPLES])
    return [Finding(len(pairs), f"{len(pairs):,} {what}{_told(told, case)}", examples, fault and _matters(told, case))]


def _matters(told: Mask, case: Case) -> bool:
    """Whether figures change by what twins tell."""
    return bool(told.sum() >= _ENOUGH * max(1, case.held.sum()))


def _told(told: Mask, case: Case) -> str:
    """How many held-out rows twins tell, in words."""
    return f": they tell {int(told.sum()):,} of {int(case.held.sum()):,} held-out rows"


def _across(case: Case, pairs: Pairs) -> Mask:
    """(P,) pairs of items of two domains."""
    domain = case.prepared.domain
    if domain is None:
        return np.zeros(len(pairs), np.bool_)
    across: Mask = domain[pairs[:, 0]] != domain[pairs[:, 1]]
    return across


def _among(pairs: Pairs, others: Pairs) -> Mask:
    """(P,) pairs that are among others; both have the smaller index first."""
    size = int(max(pairs.max(initial=0), others.max(initial=0))) + 1
    among: Mask = np.isin(pairs @ [size, 1], others @ [size, 1])
    return among
