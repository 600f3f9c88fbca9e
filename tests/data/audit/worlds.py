"""A small clean world for audits, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.audit.case import Case
from recsys_lightning.data.filters import Step
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import fingerprint
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import distinct
from recsys_lightning.schema import SPLITS
from tests.data.memory import Memory, random_interactions

COLUMNS = ("user", "item", "rating", "timestamp", "order", "split")


def source(users: int = 80, items: int = 60, rows: int = 2000, seed: int = 0, domains: bool = False) -> Memory:
    """Random choices at times of their own, of items with titles, years, genres and words."""
    data = random_interactions(users=users, items=items, rows=rows, seed=seed)
    random = np.random.default_rng(seed)
    data = replace(data, timestamp=1_000_000_000 + 3600 * random.permutation(rows).astype(np.int64))
    if domains:
        data = replace(data, domain=(np.arange(data.num_items) % 2).astype(np.int8), domains=("book", "film"))
    ids = [f"i{item:03}" for item in range(items)]
    table = pd.DataFrame(
        {
            "title": [f"Title {item}" for item in range(items)],
            "year": 1950.0 + np.arange(items) % 50,
            "genres": [[f"genre {item % 5}"] for item in range(items)],
            "overview": [f"What happens to number {item}" for item in range(items)],
        },
        index=ids,
    )
    return Memory(data, table)


@lru_cache
def clean(split: str, domains: bool = False, **options: Any) -> Case:
    """The world by a split."""
    recipe = Recipe(split=split, **{"val": 0.1, "test": 0.1, **options})
    return Case(prepare(source(domains=domains), recipe), recipe)


def with_rows(case: Case, rows: Interactions, **changes: Any) -> Case:
    """The case with other rows, the books being kept: what is wrong is the rows."""
    prepared = replace(
        case.prepared, interactions=rows, fingerprint=fingerprint(rows, case.prepared.positive), **changes
    )
    steps = [entry for entry in prepared.steps if entry.name not in SPLITS]
    for name in SPLITS:
        mask = prepared.mask(name)
        steps.append(Step(name, int(mask.sum()), distinct(rows.user[mask]), distinct(rows.item[mask])))
    return replace(case, prepared=replace(prepared, steps=tuple(steps)))


def changed(case: Case, places: Any, **columns: Any) -> Case:
    """The case with other values in some rows."""
    rows = case.rows
    new = {name: getattr(rows, name).copy() for name in columns}
    for name, values in columns.items():
        new[name][places] = code(values)
    return with_rows(case, replace(rows, **new))


def added(case: Case, places: NDArray[np.int64], **columns: Any) -> Case:
    """The case with copies of some rows at the end, with other values."""
    rows, number = case.rows, len(case.rows)
    both = {
        name: np.concatenate([column, column[places]])
        for name in COLUMNS
        if (column := getattr(rows, name)) is not None
    }
    for name, values in columns.items():
        both[name][number:] = code(values)
    return with_rows(case, replace(rows, **both))


def without(case: Case, mask: NDArray[np.bool_]) -> Case:
    """The case without some rows."""
    return with_rows(case, case.rows.take(~mask))


def code(value: Any) -> Any:
    """The code of a split by its name; other values as they are."""
    return SPLITS.index(value) if isinstance(value, str) else value


def of(case: Case, split: str, number: int = 3) -> NDArray[np.int64]:
    """The places of some rows of a split, far from one another."""
    places = np.flatnonzero(case.prepared.mask(split))
    return places[np.linspace(0, len(places) - 1, number).astype(int)]


Plant = Callable[[Case], Case]
