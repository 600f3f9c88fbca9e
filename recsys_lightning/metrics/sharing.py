"""Which items share a value of a kind (a genre, an author): near ones, recommended ones, and any two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lightning.batches import CSR

if TYPE_CHECKING:
    from scipy import sparse

Codes: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

FEW_VALUES = 1024
"""Kinds of at most so many values are multiplied as dense tables: popular values make sparse products slow."""

PAIRS = 1 << 22
"""So many pairs are held at a time: 16 MiB of float32."""

QUERIES = 20_000
"""Among more items, near ones are looked up for so many only."""

SAMPLE = 5_000
"""Items for which they are looked up then."""


class Cohesion(NamedTuple):
    """Share of the k nearest items of an item that share a value with it, and of any other item."""

    kind: str
    k: int
    observed: float
    expected: float
    items: int


class HitRatio(NamedTuple):
    """Share of a user's recommendations, and of all unseen items, that share a value with the user's own items."""

    lists: float
    random: float
    users: int


@dataclass(frozen=True, eq=False)
class Kind:
    """Which items have which values of one kind.

    Attributes:
        name: of the kind.
        values: names of the values.
        of: (I rows) values of each item.
    """

    name: str
    values: tuple[str, ...]
    of: CSR

    @property
    def known(self) -> Flags:
        """(I,) items that have any value."""
        return self.of.degree.numpy() > 0

    @cached_property
    def table(self) -> sparse.csr_array:
        """(I, values) 1 where the item has the value."""
        made: sparse.csr_array = _table(self.of, len(self.values))
        return made

    def all_of(self, own: CSR) -> sparse.csr_array:
        """(rows, values) how many of the items (rows) have the value."""
        found: sparse.csr_array = _table(own, len(self.of.crow) - 1) @ self.table
        return found

    def sharing(self, rows: sparse.csr_array) -> Iterator[tuple[slice, Flags]]:
        """Blocks of rows, and which items share a value with each: (block, I).

        Args:
            rows: (n, values) 1 or more where a row has the value.
        """
        step = max(1, PAIRS // self.table.shape[0])
        dense = torch.from_numpy(self.table.toarray()).T if len(self.values) <= FEW_VALUES else None
        for first in range(0, rows.shape[0], step):
            block = slice(first, min(first + step, rows.shape[0]))
            if dense is not None:
                yield block, (torch.from_numpy(rows[block].toarray()) @ dense > 0).numpy()
            else:
                yield block, (rows[block] @ self.table.T).toarray() > 0


def queries(items: Codes, seed: int = 0) -> Codes:
    """Items whose near ones are looked up: all, or a sample where they are many, ascending."""
    if len(items) <= QUERIES:
        return items
    return np.sort(np.random.default_rng(seed).choice(items, SAMPLE, replace=False))


def cohesion(kind: Kind, query: Codes, near: Codes, items: Codes) -> Cohesion | None:
    """How many of an item's nearest share a value with it; those without a value share none.

    Args:
        kind: values of the items.
        query: (Q,) items.
        near: (Q, k) items near each of them, among `items`.
        items: (N,) all that could be near. The expectation is that over all pairs of a query and another one of these.

    Returns:
        None where no query has a value, or nothing can be near.
    """
    asked = kind.known[query]
    query, near = query[asked], near[asked]
    if not len(query) or not near.size:
        return None
    rows, candidate = kind.table[query], np.zeros(len(kind.of.crow) - 1, bool)
    candidate[items] = True
    hits = pairs = 0
    for block, shared in kind.sharing(rows):
        hits += int(np.take_along_axis(shared, near[block], axis=1).sum())
        pairs += int(shared[:, candidate].sum()) - int(candidate[query[block]].sum())
    possible = len(query) * len(items) - int(candidate[query].sum())
    return Cohesion(kind.name, near.shape[1], hits / near.size, pairs / possible, len(query))


def hit_ratios(kind: Kind, own: CSR, seen: CSR, lists: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the recommendations of each user, and of all items not seen, that share a value with an own item.

    Both (B,), NaN for users whose items have no value, without recommendations, or who have seen everything. The
    second is what a random item would do: exact, not drawn.

    Args:
        kind: values of the items.
        own: items of users (B rows).
        seen: items that are not recommended to them (B rows).
        lists: (B, k) recommended items, -1 where there is none.
    """
    rows = kind.all_of(own)
    num_items = len(kind.of.crow) - 1
    recommended, random = np.full(len(lists), np.nan), np.full(len(lists), np.nan)
    crow, col = seen.crow.numpy(), seen.col.numpy()
    has = np.diff(rows.indptr) > 0
    for block, shared in kind.sharing(rows):
        filled = lists[block] >= 0
        hits = np.take_along_axis(shared, np.maximum(lists[block], 0), axis=1) & filled
        cells = slice(crow[block.start], crow[block.stop])
        row = np.repeat(np.arange(shared.shape[0]), np.diff(crow[block.start : block.stop + 1]))
        left = num_items - np.bincount(row, minlength=len(shared))
        unseen = shared.sum(1) - np.bincount(row, shared[row, col[cells]], minlength=len(shared))
        counted = has[block] & filled.any(1) & (left > 0)
        recommended[block] = np.where(counted, hits.sum(1) / np.maximum(filled.sum(1), 1), np.nan)
        random[block] = np.where(counted, unseen / np.maximum(left, 1), np.nan)
    return recommended, random


def hit_ratio(kind: Kind, own: CSR, seen: CSR, lists: Codes) -> HitRatio | None:
    """Means of `hit_ratios` over the users that have one; None where nobody has."""
    recommended, random = hit_ratios(kind, own, seen, lists)
    counted = ~np.isnan(recommended)
    if not counted.any():
        return None
    return HitRatio(float(recommended[counted].mean()), float(random[counted].mean()), int(counted.sum()))


def _table(rows: CSR, width: int) -> Any:
    from scipy import sparse

    ones = np.ones(len(rows.col), np.float32)
    return sparse.csr_array((ones, rows.col.numpy(), rows.crow.numpy()), shape=(len(rows.crow) - 1, width))
