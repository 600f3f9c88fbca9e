"""From a source to prepared data: read, filter, split, index, fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_object_dtype

from recsys_lightning.data import domain_splits, splits
from recsys_lightning.data.cache import cache_folder, cached
from recsys_lightning.data.filters import Step, apply_filters, positive_rows, sizes, step, trained_users
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepared import Prepared, fingerprint
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import Codes, Rows, count, distinct, gather, item_noise, noise, user_noise
from recsys_lightning.data.sources.base import Source
from recsys_lightning.errors import InputError
from recsys_lightning.schema import GIVEN, ITEM_ID, SPLITS, TITLE, TRAIN, USER_ID

__all__ = ["Prepared", "Recipe", "Step", "cache_folder", "prepare"]


def prepare(source: Source, recipe: Recipe, cache: Path | None = None) -> Prepared:
    """Read a source and prepare it; or take what an equal call left in the cache.

    Args:
        source: raw data.
        recipe: filters and split.
        cache: folder of caches, such as `cache_folder()`; None reads and computes every time.

    Raises:
        InputError: the files, or what the recipe asks of them, are not right.
    """
    return build(source, recipe) if cache is None else cached(cache, source, recipe, build)


def build(source: Source, recipe: Recipe) -> Prepared:
    """`prepare` without a cache."""
    raw = source.read()
    items, users = raw.items, raw.users
    rows = Rows(raw.interactions)
    del raw  # `rows` now owns the columns and frees them one by one
    pa.default_memory_pool().release_unused()  # what reading needed
    rows.sort()
    domain_splits.check(rows, recipe)
    steps = apply_filters(rows, recipe, items.index)
    rows.columns["split"] = label(rows, recipe)
    steps += domain_splits.drop_later(rows, recipe)
    steps += drop_unusable(rows, recipe)
    steps += domain_splits.take_shots(rows, recipe) if recipe.split == "target_cold" else take_shots(rows, recipe)
    domain_splits.check_trained(rows, recipe, steps)
    several = len(rows.domains) > 1
    steps += domain_splits.keep_only(rows, recipe)
    steps += parts(rows, recipe)
    interactions = index(rows)
    del rows
    return Prepared(
        name=source.name,
        item_type=source.item_type,
        attributes=dict(source.attributes),
        interactions=interactions,
        items=describe(items, interactions.item_ids, ITEM_ID, title=True),
        users=describe(users, interactions.user_ids, USER_ID),
        steps=tuple(steps),
        split=recipe.named(several),
        fingerprint=fingerprint(interactions, recipe.positive),
        on_request=source.on_request,
        positive=recipe.positive,
        later=tuple(name for name in source.later if name in items),
    )


def label(rows: Rows, recipe: Recipe) -> NDArray[np.int8]:
    """(N,) the split of each row."""
    if recipe.split == "global_time":
        return splits.global_time(rows.columns.get("timestamp"), recipe.val, recipe.test)
    if recipe.split == "leave_last_out":
        return domain_splits.in_each_domain(rows, rows.time, recipe, splits.leave_last_out)
    if recipe.split == "random":
        return domain_splits.in_each_domain(rows, noise(rows, recipe.seed), recipe, splits.random)
    if recipe.split == "target_cold":
        return domain_splits.target_cold(rows, recipe)
    if recipe.split in ("item_cold", "user_cold"):
        codes, what = _held_out(rows, recipe)
        numbers = item_noise(rows, recipe.seed) if what == "items" else user_noise(rows, recipe.seed)
        able, what = _able(rows, recipe, codes, len(numbers)), _long_enough(what, recipe)
        return splits.cold(codes, numbers, recipe.val, recipe.test, able, what)
    return splits.official(rows.user, rows.columns.get("split"), noise(rows, recipe.seed), recipe.val)


def drop_unusable(rows: Rows, recipe: Recipe) -> list[Step]:
    """Drop rows of users without train positives, and held-out rows of items without train rows; in place.

    Users who are held out as a whole stay; the recipe may keep the items.

    Returns:
        a step for each rule.

    Raises:
        InputError: nothing is left in train.
    """
    steps = []
    positive = f"train rows rated {recipe.positive:g} or higher" if recipe.positive is not None else "train rows"
    rules = {f"users without {positive}": "user", "items unseen in train": "item"}
    for name, column in rules.items():
        codes = rows.columns[column]
        mask = trained_users(rows, recipe) if column == "user" else _trained_items(rows)
        lost = int((~mask).sum())
        keeps = column == "item" and recipe.keeps_unseen_items
        if not keeps:
            rows.keep(mask)
        if lost:
            of = f"{lost:,} rows of {distinct(codes[~mask]):,} {column}s"
            steps.append(step(name, rows, f"{of} {'kept' if keeps else 'dropped'}"))
    if not (rows.columns["split"] == SPLITS.index(TRAIN)).any():
        advice = "Hold out less." if recipe.positive is None else "Lower data.recipe.positive, or hold out less."
        raise InputError(f"The split {recipe.split_name} leaves no {positive}.\n{sizes(steps)}\n{advice}")
    return steps


def _trained_items(rows: Rows) -> NDArray[np.bool_]:
    """(N,) rows of items that have train rows."""
    train = rows.columns["split"] == SPLITS.index(TRAIN)
    return gather(count(rows.item[train], len(rows.item_ids)) > 0, rows.item)


def take_shots(rows: Rows, recipe: Recipe) -> list[Step]:
    """Move the first rows of held-out items to train, and let those of users held out as a whole be given; in place.

    Rows that are reserved beyond these are dropped, and whoever then has no positive to find is dropped whole. This
    comes after `drop_unusable`, so that what is tested does not depend on how many rows train is given.

    Returns:
        a step for what was moved, and one for what was dropped.
    """
    if not recipe.depth:
        return []
    part, (codes, what) = rows.columns["split"].copy(), _held_out(rows, recipe)
    held = np.flatnonzero(part != SPLITS.index(TRAIN))
    code, positive = codes[held], positive_rows(rows, recipe)[held]
    time = rows.time if what == "users" else rows.columns.get("timestamp")  # an order is of the rows of one user
    key: NDArray[Any] = noise(rows, recipe.seed)[held] if time is None else time[held]
    before = splits.positives_before(code, key, positive)
    shot, rest = before < recipe.num_shots, before >= recipe.depth
    tested = gather(count(code[rest & positive], int(codes.max(initial=0)) + 1) > 0, code)
    shot &= tested
    part[held[shot]] = SPLITS.index(TRAIN if what == "items" else GIVEN)
    keep = np.ones(len(rows), np.bool_)
    keep[held[~(shot | rest & tested)]] = False
    dropped = f"{int((~keep).sum()):,} rows of {distinct(codes[~keep]):,} held-out {what} dropped"
    steps = []
    if recipe.shots:
        which = f"{recipe.num_shots} random ones" if time is None else f"the first {recipe.num_shots}"
        low = "" if recipe.positive is None else " and the lower ratings before them"
        of = f"{which} of each of {distinct(code[shot]):,} held-out {what}{low}"
        place = "go to train" if what == "items" else "are given"
        steps.append(step("shots", rows, f"{int(shot.sum()):,} rows, {of}, {place}"))
    rows.columns["split"] = part
    rows.keep(keep)
    if not keep.all():
        steps.append(step("reserve", rows, f"{dropped}: neither shots nor tested"))
    return steps


def parts(rows: Rows, recipe: Recipe) -> list[Step]:
    """A step for each split, with what it holds."""
    steps, part = [], rows.columns["split"]
    for code, name in enumerate(SPLITS):
        user, item = rows.user[part == code], rows.item[part == code]
        if name == GIVEN and not len(user):
            continue
        notes = [_whole_users(rows)] if name == TRAIN and recipe.split in ("leave_last_out", "random") else []
        if recipe.positive is not None:
            count_of = int((positive_rows(rows, recipe) & (part == code)).sum())
            notes.append(f"{count_of:,} of the rows are rated {recipe.positive:g} or higher")
        steps.append(Step(name, len(user), distinct(user), distinct(item), "; ".join(filter(None, notes))))
    return steps


def _held_out(rows: Rows, recipe: Recipe) -> tuple[Codes, str]:
    """(N,) items or users, whichever are held out as a whole, and what they are."""
    return (rows.item, "items") if recipe.split == "item_cold" else (rows.user, "users")


def _able(rows: Rows, recipe: Recipe, codes: Codes, size: int) -> NDArray[np.bool_]:
    """(size,) which items or users have more positives than are never tested."""
    if not recipe.depth or recipe.positive is None:
        return count(codes, size) > recipe.depth
    return count(codes[positive_rows(rows, recipe)], size) > recipe.depth


def _long_enough(what: str, recipe: Recipe) -> str:
    """Those that can be held out, in words."""
    if not recipe.depth:
        return what
    return f"{what} with more than {recipe.depth} {'rows' if recipe.positive is None else 'positives'}"


def index(rows: Rows) -> Interactions:
    """Final indices: ids of train rows first, each part sorted; ids without rows are left out."""
    train = rows.columns["split"] == SPLITS.index(TRAIN)
    user_order, user_index = _order(rows.user, train, len(rows.user_ids))
    item_order, item_index = _order(rows.item, train, len(rows.item_ids))
    columns: dict[str, Any] = dict(rows.columns)
    rows.columns = {"user": rows.columns["user"][:0]}
    columns["user"] = gather(user_index, columns["user"])
    columns["item"] = gather(item_index, columns["item"])
    if len(columns["user"]) and _descends(columns["user"], columns["item"]):
        order = np.lexsort((columns["item"], columns["user"]))
        for name in columns:
            columns[name] = columns[name][order]
    return Interactions(
        **columns,
        user_ids=rows.user_ids.take(pa.array(user_order)),
        item_ids=rows.item_ids.take(pa.array(item_order)),
        domain=None if rows.domain is None else rows.domain[item_order],
        domains=rows.domains,
    )


def describe(table: pd.DataFrame, ids: pa.StringArray, name: str, title: bool = False) -> pd.DataFrame:
    """The table of raw ids in index order: the id, the title if asked for, then the other columns.

    Ids that the table lacks get missing values; in columns of lists, empty lists.
    """
    values = ids.to_pylist()
    found = table[~table.index.duplicated()].reindex(values).reset_index(drop=True)
    for column in found:
        if is_object_dtype(found[column]) and found[column].map(lambda value: isinstance(value, list)).any():
            found[column] = found[column].map(lambda value: value if isinstance(value, list) else [])
    found = found.drop(columns=name, errors="ignore")
    found.insert(0, name, pd.Series(values, dtype="str"))
    if title:
        titles = found.pop(TITLE) if TITLE in found else pd.Series(np.nan, index=found.index)
        found.insert(1, TITLE, titles.where(titles.notna() & (titles != ""), found[name]).astype("str"))
    return found


def _order(
    codes: NDArray[np.int32], train: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Codes in index order, and the index of each code (-1 for codes without rows)."""
    in_train = count(codes[train], size) > 0
    in_rows = count(codes, size) > 0
    order = np.concatenate([np.flatnonzero(in_train), np.flatnonzero(in_rows & ~in_train)])
    index = np.full(size, -1, np.int32)
    index[order] = np.arange(len(order), dtype=np.int32)
    return order, index


def _descends(user: NDArray[np.int32], item: NDArray[np.int32]) -> bool:
    """Whether rows are out of order: so only if items or users unseen in train are kept."""
    later = (user[1:] > user[:-1]) | ((user[1:] == user[:-1]) & (item[1:] >= item[:-1]))
    return not bool(later.all())


def _whole_users(rows: Rows) -> str:
    """How many users the split left whole, in words."""
    held_out = rows.columns["split"] != SPLITS.index(TRAIN)
    users = len(rows.user_ids)
    whole = int(((count(rows.user, users) > 0) & (count(rows.user[held_out], users) == 0)).sum())
    return f"{whole:,} users have no held-out rows" if whole else ""
