"""Filters on interactions: duplicates, ratings, limits, k-core. Each is counted as a step of the data card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import Rows, count, distinct, gather, noise
from recsys_lightning.errors import InputError
from recsys_lightning.schema import SPLITS, TRAIN


@dataclass(frozen=True)
class Step:
    """What was left after one step of preparation.

    Attributes:
        name: of the step.
        rows: left after it.
        users: with rows left.
        items: with rows left.
        note: what was dropped, in words.
    """

    name: str
    rows: int
    users: int
    items: int
    note: str = ""


def step(name: str, rows: Rows, note: str = "") -> Step:
    """The step that led to these rows."""
    return Step(name, len(rows), distinct(rows.user), distinct(rows.item), note)


def apply_filters(rows: Rows, recipe: Recipe, described: pd.Index | None = None) -> list[Step]:
    """Filter in place, in the order of the recipe.

    Args:
        rows: sorted.
        recipe: which filters, and how.
        described: ids of the items that the table of items describes; None or empty where there is no such table.

    Raises:
        InputError: nothing is left; or the recipe refuses duplicates, or asks for what the data do not have.
    """
    steps = [step("read", rows)]
    if dropped := drop_duplicates(rows, recipe.duplicates):
        steps.append(step("duplicates", rows, f"{dropped:,} repeated pairs dropped, kept the {recipe.duplicates}"))
    if recipe.orphans == "drop":
        steps.append(step("orphans", rows, drop_orphans(rows, described)))
    if recipe.min_rating is not None:
        drop_low_ratings(rows, recipe.min_rating)
        steps.append(step("min_rating", rows, f"ratings of {recipe.min_rating:g} and more"))
    for name, limit in (("items", limit_items), ("users", limit_users), ("interactions", limit_interactions)):
        if (most := getattr(recipe, f"limit_{name}")) is not None:
            limit(rows, most, recipe.seed)
            steps.append(step(f"limit_{name}", rows, f"at most {most:,}"))
    if not len(rows):
        raise InputError(f"Nothing is left after the filters.\n{sizes(steps)}\nLoosen the one that emptied it.")
    if recipe.user_core or recipe.item_core:
        steps += k_core(rows, recipe.user_core, recipe.item_core)
    return steps


def drop_duplicates(rows: Rows, policy: str) -> int:
    """Keep one row of each (user, item) pair; returns how many rows were dropped.

    With an official split a pair's earliest part wins (train over test), so that parts never overlap.

    Raises:
        InputError: the policy is `error` and there are repeated pairs.
    """
    same = (rows.user[1:] == rows.user[:-1]) & (rows.item[1:] == rows.item[:-1])
    position = rows.columns.pop("position")
    if not same.any():
        return 0
    if policy == "error":
        first = int(same.argmax())
        user, item = rows.user_ids[int(rows.user[first])], rows.item_ids[int(rows.item[first])]
        raise InputError(
            f"{int(same.sum()):,} rows repeat a (user, item) pair, first user {str(user)!r}, item {str(item)!r}. "
            "Mend the data, or say duplicates: last or duplicates: first."
        )
    surplus = _surplus(rows, position, same, policy)
    del position, same  # as large as the columns
    mask = np.ones(len(rows), bool)
    mask[surplus] = False
    rows.keep(mask)
    return len(surplus)


def _surplus(rows: Rows, position: NDArray[np.int32], same: NDArray[np.bool_], policy: str) -> NDArray[np.int64]:
    """Rows to drop, given which rows (but the first) have the pair of the row before them."""
    starts = np.concatenate([[True], ~same])  # where a pair begins
    among = np.flatnonzero(~starts | np.concatenate([~starts[1:], [False]]))
    keys: list[NDArray[Any]] = [position[among]]
    if rows.time is not None:
        keys += [rows.columns["rating"][among]] if "rating" in rows.columns else []
        keys.append(rows.time[among])
    if "split" in rows.columns:
        part = rows.columns["split"][among]
        keys.append(part if policy == "first" else -part)
    pair = np.cumsum(starts[among])
    by_pair = np.lexsort((*keys, pair))
    edge = pair[1:] != pair[:-1]
    chosen = np.concatenate([edge, [True]]) if policy == "last" else np.concatenate([[True], edge])
    surplus: NDArray[np.int64] = among[by_pair[~chosen]]
    return surplus


def drop_orphans(rows: Rows, described: pd.Index | None) -> str:
    """Drop rows of items that have no description, in place; says how many of how many items.

    Raises:
        InputError: no item is described.
    """
    if described is None or not len(described):
        raise InputError(
            "orphans: drop was given, but this data set has no table of items, so nothing tells which items lack a "
            "description. Name the table in the option items of the data set where there is one, or leave orphans out."
        )
    ids = pa.array(described.astype(str), pa.string())
    known = pc.is_in(rows.item_ids, value_set=ids).to_numpy(zero_copy_only=False)
    mask = gather(known, rows.item)
    orphans = rows.item[~mask]
    if len(rows) and not mask.any():
        raise InputError(
            f"orphans: drop leaves nothing: none of the {distinct(orphans):,} items of {len(rows):,} rows is in the "
            f"table of items, which describes {len(described):,}. Ids begin with {rows.item_ids[0].as_py()!r} in the "
            f"rows and with {ids[0].as_py()!r} in the table: look whether they are ids of the same kind."
        )
    rows.keep(mask)
    return f"{len(orphans):,} rows of {distinct(orphans):,} items that the table of items lacks dropped"


def drop_low_ratings(rows: Rows, least: float) -> None:
    """Drop ratings below `least`.

    Raises:
        InputError: the data has no ratings.
    """
    if "rating" not in rows.columns:
        raise InputError(
            "min_rating was given, but the interactions have no ratings. "
            "Name their column in columns.rating where the file has one, or leave min_rating out."
        )
    rows.keep(rows.columns["rating"] >= least)


def positive_rows(rows: Rows, recipe: Recipe) -> NDArray[np.bool_]:
    """(N,) rows that are positives.

    Raises:
        InputError: the recipe tells them by their ratings, and the data have none.
    """
    if recipe.positive is None:
        return np.ones(len(rows.user), np.bool_)
    rating = rows.columns.get("rating")
    if rating is None:
        raise InputError(
            f"data.recipe.positive is {recipe.positive:g}, and these data have no ratings: every row is a positive. "
            "Leave it out."
        )
    found: NDArray[np.bool_] = rating >= recipe.positive
    return found


def trained_users(rows: Rows, recipe: Recipe) -> NDArray[np.bool_]:
    """(N,) rows of users who have train positives, or who are held out as a whole."""
    train = rows.columns["split"] == SPLITS.index(TRAIN)
    known = count(rows.user[train & positive_rows(rows, recipe)], len(rows.user_ids)) > 0
    mask = gather(known, rows.user)
    return mask if recipe.split != "user_cold" else mask | ~train


def limit_items(rows: Rows, most: int, seed: int) -> None:
    """Keep the rows of the `most` items with most rows, ties by id."""
    rows.keep(gather(_largest(rows.degrees()[1], most), rows.item))


def limit_users(rows: Rows, most: int, seed: int) -> None:
    """Keep the rows of the `most` users with most rows, ties by id."""
    rows.keep(gather(_largest(rows.degrees()[0], most), rows.user))


def limit_interactions(rows: Rows, most: int, seed: int) -> None:
    """Keep `most` random rows, chosen by a seeded hash of their ids."""
    if len(rows) > most:
        numbers = noise(rows, seed)
        rows.keep(numbers < np.partition(numbers, most)[most])


def k_core(rows: Rows, user_core: int, item_core: int) -> list[Step]:
    """Drop users and items with too few rows until none is left, in place; returns one step for each pass.

    Raises:
        InputError: nothing is left, with the size after each pass and the largest core that leaves something.
    """
    start = (rows.user, rows.item)
    steps = [step("before the core", rows)]
    while (mask := _core_mask(rows.user, rows.item, user_core, item_core)) is not None:
        rows.keep(mask)
        steps.append(step(f"core pass {len(steps)}", rows, f"users >= {user_core}, items >= {item_core}"))
        if not len(rows):
            best = largest_core(*start, user_core, item_core)
            raise InputError(
                f"The core filter (user_core: {user_core}, item_core: {item_core}) leaves nothing.\n{sizes(steps)}\n"
                f"The largest core that leaves something is {best}: "
                f"user_core: {min(best, user_core)}, item_core: {min(best, item_core)}."
            )
    return steps[1:]


def largest_core(user: NDArray[np.int32], item: NDArray[np.int32], user_core: int, item_core: int) -> int:
    """The largest k for which the core (min(k, user_core), min(k, item_core)) is not empty."""
    low, high = 0, max(user_core, item_core)
    while low < high:
        middle = (low + high + 1) // 2
        users, items = user, item
        while (mask := _core_mask(users, items, min(middle, user_core), min(middle, item_core))) is not None:
            users, items = users[mask], items[mask]
        low, high = (middle, high) if len(users) else (low, middle - 1)
    return low


def sizes(steps: Sequence[Step]) -> str:
    """Steps as lines of text, for messages."""
    return "\n".join(f"  {s.name}: {s.rows:,} rows, {s.users:,} users, {s.items:,} items" for s in steps)


def _core_mask(
    user: NDArray[np.int32], item: NDArray[np.int32], user_core: int, item_core: int
) -> NDArray[np.bool_] | None:
    """(N,) rows whose user and item both have enough rows; None where all have."""
    if not len(user):
        return None
    enough_user = count(user, int(user.max()) + 1) >= user_core
    enough_item = count(item, int(item.max()) + 1) >= item_core
    mask = gather(enough_user, user)
    mask &= gather(enough_item, item)
    return None if mask.all() else mask


def _largest(degree: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(degree), bool)
    chosen[np.argsort(-degree, kind="stable")[:most]] = True
    return chosen
