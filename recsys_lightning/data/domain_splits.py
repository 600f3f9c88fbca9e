"""Splits of data of several domains: each domain by itself, in a time line that the domains of a user share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.filters import Step, positive_rows, sizes, step, trained_users
from recsys_lightning.data.recipe import ALL, Recipe
from recsys_lightning.data.rows import Codes, Rows, count, distinct, gather, noise, offsets, order_within, user_noise
from recsys_lightning.data.splits import Labels, cold, positives_before
from recsys_lightning.errors import InputError
from recsys_lightning.schema import GIVEN, SPLITS, TEST, TRAIN, VAL

_TRAIN, _VAL, _TEST, _GIVEN = (SPLITS.index(name) for name in (TRAIN, VAL, TEST, GIVEN))
_RESERVED = r"worst|sampled_\w*"
"""What figures bear where those of a domain bear its name: ndcg_10_worst, and ndcg_10_sampled_500 of candidates."""


def check(rows: Rows, recipe: Recipe) -> None:
    """Check the names of the domains, and those that the recipe asks for.

    Raises:
        InputError: a figure cannot bear the name of a domain, or there is no domain of a name.
    """
    names = rows.domains
    for name in names if len(names) > 1 else ():
        if not re.fullmatch(r"\w+", name) or re.fullmatch(_RESERVED, name):
            raise InputError(
                f"A domain cannot be called {name!r}: names of figures end in it, as in ndcg_10_book. Let it consist "
                "of letters, digits and _, be another word than worst, and not begin with sampled_."
            )
    for option in ("target", "only"):
        asked = getattr(recipe, option)
        if asked is None or (asked in names and len(names) > 1):
            continue
        known = f"these data have the domains {', '.join(names)}" if len(names) > 1 else "these data have one domain"
        advice = "Choose one of them." if len(names) > 1 else f"Leave {option} out, or name data of several domains."
        raise InputError(f"data.recipe.{option} is {asked!r}, and {known}. {advice}")


def in_each_domain(
    rows: Rows,
    key: NDArray[Any] | None,
    recipe: Recipe,
    split: Callable[[Codes, Any, float, float], Labels],
) -> Labels:
    """(N,) labels that a split of rows by user and key makes of the rows of each domain."""
    labels = np.empty(len(rows), np.int8)
    for own in _each_domain(rows):
        labels[own] = split(rows.user[own], None if key is None else key[own], recipe.val, recipe.test)
    return labels


def target_cold(rows: Rows, recipe: Recipe) -> Labels:
    """(N,) labels of random users' last positives in the target; what they have before it there is given, for now.

    Rows rated lower after the last positive are given, too: `take_shots` tells which of these rows go to train.

    Raises:
        InputError: too few users have rows in the target and, not later than the last of these, elsewhere.
    """
    assert recipe.target is not None
    users, time, positive = len(rows.user_ids), rows.time, positive_rows(rows, recipe)
    inside = _inside(rows, recipe.target)
    own = np.flatnonzero(inside & positive)
    degree = count(rows.user[own], users)
    key: NDArray[Any] = (noise(rows, recipe.seed) if time is None else time)[own]
    crow = offsets(degree)
    last = own[order_within(crow, key)[crow[1:][degree > 0] - 1]]
    elsewhere = ~inside & positive
    if time is not None and recipe.later_rows == "drop":
        cut = np.full(users, np.iinfo(np.int64).min)
        cut[rows.user[last]] = time[last]
        elsewhere &= time <= gather(cut, rows.user)
    able = (degree > recipe.depth) & (count(rows.user[elsewhere], users) > 0)
    kind = "rows" if recipe.positive is None else "positives"
    least = f"more than {recipe.depth} " if recipe.depth else ""
    what = f"users with {least}{kind} in {recipe.target} and, not later than the last of these, elsewhere"
    held = cold(rows.user, user_noise(rows, recipe.seed), recipe.val, recipe.test, able, what)
    labels = np.where(inside & (held != _TRAIN), _GIVEN, _TRAIN).astype(np.int8)
    labels[last] = held[last]
    return labels


def drop_later(rows: Rows, recipe: Recipe) -> list[Step]:
    """Drop train rows of users that are later than their first held-out row of any domain; in place.

    So no row in one domain tells what came after the moment at which a user is tested in another.

    Returns:
        a step where there is such a rule and a time line, also if it drops nothing.
    """
    joint = recipe.split == "target_cold" or (recipe.split == "leave_last_out" and len(rows.domains) > 1)
    time, part = rows.time, rows.columns["split"]
    if not joint or recipe.later_rows == "keep" or time is None:
        return []
    held = (part == _VAL) | (part == _TEST)
    first = np.full(len(rows.user_ids), np.iinfo(np.int64).max)
    np.minimum.at(first, rows.user[held], time[held])
    later = (part == _TRAIN) & (time > gather(first, rows.user))
    users = distinct(rows.user[later])
    rows.keep(~later)
    note = f"{int(later.sum()):,} train rows of {users:,} users dropped: later than what is held out of them"
    return [step("joint time cut", rows, note)]


def take_shots(rows: Rows, recipe: Recipe) -> list[Step]:
    """Move the first rows in the target of users who are new there to train, and drop what they have beside; in place.

    This comes after rows of unseen items are dropped, so that what is tested does not depend on `shots`. Who is left
    without a row to find is left without rows in the target.

    Returns:
        a step for what was moved, and one for what was dropped.
    """
    part, positive, users = rows.columns["split"].copy(), positive_rows(rows, recipe), len(rows.user_ids)
    tested = (part == _VAL) | (part == _TEST)
    held = np.flatnonzero(tested | (part == _GIVEN))
    user, time = rows.user[held], rows.time
    key: NDArray[Any] = noise(rows, recipe.seed)[held] if time is None else time[held]
    before = positives_before(user, key, positive[held])
    most = count(user[positive[held]], users)  # rows behind the tested one come after so many
    if recipe.shots != ALL:
        most = np.minimum(most, recipe.num_shots)
    findable = count(rows.user[tested], users) > 0
    shot = held[(before < gather(most, user)) & ~tested[held] & gather(findable, user)]
    part[shot] = _TRAIN
    steps = []
    if recipe.shots:
        first = "all" if recipe.shots == ALL else f"the first {recipe.num_shots}"
        first = first if time is not None or recipe.shots == ALL else f"{recipe.num_shots} random ones"
        low = "" if recipe.positive is None else " and the lower ratings before them"
        note = f"{len(shot):,} rows, {first} of each of {distinct(rows.user[shot]):,} users new in {recipe.target}{low}"
        steps.append(step("shots", rows, f"{note}, go to train"))
    keep = part != _GIVEN
    dropped = f"{int((~keep).sum()):,} rows of {distinct(rows.user[~keep]):,} users new in {recipe.target} dropped"
    rows.columns["split"] = part
    rows.keep(keep)
    if not keep.all():
        steps.append(step(f"rows in {recipe.target}", rows, f"{dropped}: neither shots nor tested"))
    return steps


def check_trained(rows: Rows, recipe: Recipe, steps: Sequence[Step]) -> None:
    """Check that every domain has train rows.

    Raises:
        InputError: names those that have none.
    """
    if len(rows.domains) < 2:
        return
    assert rows.domain is not None
    train = (rows.columns["split"] == _TRAIN) & positive_rows(rows, recipe)
    found = count(gather(rows.domain, rows.item[train]), len(rows.domains))
    if empty := [name for name, number in zip(rows.domains, found, strict=True) if not number]:
        kind = "train rows" if recipe.positive is None else f"train rows rated {recipe.positive:g} or higher"
        raise InputError(
            f"The domain {', '.join(empty)} has no {kind}, so there is nobody to learn it from.\n{sizes(steps)}\n"
            "Loosen the filters, hold out less, or leave the domain out of the data."
        )


def keep_only(rows: Rows, recipe: Recipe) -> list[Step]:
    """Keep the rows of one domain, of the users whom train knows there; the data have one domain then; in place.

    Items stay as they are, so that the rows that are tested are those of the split of all domains.
    """
    if recipe.only is None:
        return []
    inside = _inside(rows, recipe.only)
    rows.domain, rows.domains = None, ()
    elsewhere = int((~inside).sum())
    rows.keep(inside)
    known = trained_users(rows, recipe)
    lost = distinct(rows.user[~known])
    note = f"{elsewhere:,} rows of other domains dropped"
    if lost:
        note += f", and {int((~known).sum()):,} of {lost:,} users without train rows here"
    rows.keep(known)
    return [step(f"only {recipe.only}", rows, note)]


def _each_domain(rows: Rows) -> Iterator[slice | NDArray[np.bool_]]:
    """The rows of each domain; all of them where there is one."""
    if len(rows.domains) < 2:
        yield slice(None)
        return
    for name in rows.domains:
        yield _inside(rows, name)


def _inside(rows: Rows, name: str) -> NDArray[np.bool_]:
    """(N,) rows of a domain."""
    assert rows.domain is not None
    return gather(rows.domain == rows.domains.index(name), rows.item)
