"""Interactions while they are prepared: columns in canonical order, and kernels that work block by block.

Twenty million rows fit into a gigabyte only if no step holds two tables at once, or an int64 copy of an index column
(which numpy makes whenever it indexes by int32). So columns are replaced one at a time, and kernels run on blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from recsys_lightning.data.interactions import Interactions

BLOCK = 1 << 21

Scalar = TypeVar("Scalar", bound=np.generic)
Codes = NDArray[np.integer[Any]]


class Rows:
    """Rows sorted by (user, item), users and items coded by the rank of their raw ids.

    Equal tables give equal `Rows`, whatever the order of their rows was. Columns are replaced, never changed in place.

    Args:
        interactions: in any order; whoever wants its memory back drops it before calling `sort`.
    """

    def __init__(self, interactions: Interactions) -> None:
        self.user_ids, self.item_ids = interactions.user_ids, interactions.item_ids
        self.domain, self.domains = interactions.domain, interactions.domains
        self.columns: dict[str, NDArray[Any]] = {
            name: column
            for name in ("user", "item", "rating", "timestamp", "order", "split")
            if (column := getattr(interactions, name)) is not None
        }

    def __len__(self) -> int:
        return len(self.columns["user"])

    @property
    def user(self) -> NDArray[np.int32]:
        """(N,) ranks of user ids, ascending."""
        return self.columns["user"]

    @property
    def item(self) -> NDArray[np.int32]:
        """(N,) ranks of item ids, ascending within a user."""
        return self.columns["item"]

    @property
    def time(self) -> NDArray[np.int64] | None:
        """(N,) timestamp, else order, else None."""
        return self.columns.get("timestamp", self.columns.get("order"))

    def sort(self) -> None:
        """Bring ids and rows into order; column `position` remembers the place of each row in the raw table.

        A counting sort by user, then a sort within each user: half the memory and a third of the time of an argsort.
        """
        self.user_ids, order, rank = _sorted_ids(self.user_ids)
        self.columns["user"] = gather(rank, self.user)
        self.item_ids, order, rank = _sorted_ids(self.item_ids)
        self.columns["item"] = gather(rank, self.item)
        self.domain = None if self.domain is None else self.domain[order]
        position: NDArray[Any] = np.arange(len(self), dtype=np.int32 if len(self) < 2**31 else np.int64)
        shape = (max(1, len(self.user_ids)), max(1, len(self.item_ids)))
        table = sparse.coo_array((position, (self.columns.pop("user"), self.columns.pop("item"))), shape=shape)
        table.has_canonical_format = True  # repeated pairs are wanted; scipy would add up their values
        del position
        by_user: Any = table.tocsr()
        del table
        by_user.sort_indices()
        for name, column in self.columns.items():
            self.columns[name] = gather(column, by_user.data)
        users = np.repeat(np.arange(shape[0], dtype=np.int32), np.diff(by_user.indptr))
        items = by_user.indices.astype(np.int32, copy=False)
        self.columns = {"user": users, "item": items, "position": by_user.data, **self.columns}

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Keep the rows that a (N,) mask marks."""
        if not mask.all():
            for name in self.columns:
                self.columns[name] = self.columns[name][mask]

    def degrees(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(U,) rows of each user and (I,) rows of each item."""
        return count(self.user, len(self.user_ids)), count(self.item, len(self.item_ids))


def blocks(length: int) -> Iterator[slice]:
    """Slices that cover `length` rows."""
    return (slice(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK))


def gather(table: NDArray[Scalar], index: Codes) -> NDArray[Scalar]:
    """`table[index]` block by block."""
    out = np.empty(len(index), table.dtype)
    for block in blocks(len(index)):
        out[block] = table[index[block]]
    return out


def count(codes: Codes, size: int) -> NDArray[np.int64]:
    """(size,) how often each code occurs, block by block."""
    total = np.zeros(size, np.int64)
    for block in blocks(len(codes)):
        total += np.bincount(codes[block], minlength=size)
    return total


def distinct(codes: Codes) -> int:
    """How many different codes there are."""
    return int((count(codes, int(codes.max(initial=-1)) + 1) > 0).sum())


def offsets(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """(rows + 1,) where each row of the given length begins."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(degree)])


def order_within(crow: NDArray[np.int64], key: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) rows by (user, key), equal keys in the order of the rows; rows lie sorted by user, `crow` says where.

    Where they fit into 63 bits, user, key and place are sorted as one word: ten times faster than sorting indices.
    """
    degree = np.diff(crow)
    place = np.arange(crow[0], crow[-1]) - np.repeat(crow[:-1], degree)
    low = key.min(initial=0)
    bits = [int(top).bit_length() for top in (len(degree), int(key.max(initial=0)) - int(low), degree.max(initial=0))]
    user = np.repeat(np.arange(len(degree)), degree)
    if sum(bits) > 63:
        return np.lexsort((key, user))
    word = (user << (bits[1] + bits[2])) | ((key.astype(np.int64) - int(low)) << bits[2]) | place
    word.sort()
    rows: NDArray[np.int64] = np.repeat(crow[:-1] - crow[0], degree) + (word & ((1 << bits[2]) - 1))
    return rows


def noise(rows: Rows, seed: int) -> NDArray[np.uint32]:
    """(N,) a random number for each row: a hash of the seed and the two raw ids, so the order of rows is no matter."""
    user, item = (pd.util.hash_array(np.asarray(ids, object)) for ids in (rows.user_ids, rows.item_ids))
    user = _mix(user + np.uint64(seed % 2**64))
    out = np.empty(len(rows), np.uint32)
    for block in blocks(len(rows)):
        out[block] = _mix(user[rows.user[block]] ^ item[rows.item[block]]) >> np.uint64(32)
    return out


def item_noise(rows: Rows, seed: int) -> NDArray[np.uint64]:
    """(I,) a random number for each item: a hash of the seed and the raw id, so the order of rows is no matter."""
    return _mix(pd.util.hash_array(np.asarray(rows.item_ids, object)) + np.uint64(seed % 2**64))


def user_noise(rows: Rows, seed: int) -> NDArray[np.uint64]:
    """(U,) a random number for each user, likewise."""
    return _mix(pd.util.hash_array(np.asarray(rows.user_ids, object)) + np.uint64(seed % 2**64))


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64."""
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _sorted_ids(ids: pa.StringArray) -> tuple[pa.StringArray, NDArray[np.int64], NDArray[np.int32]]:
    """Ids in byte order, the places they came from, and the rank of each of the given ones."""
    order = pc.sort_indices(ids).to_numpy().astype(np.int64)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    return ids.take(pa.array(order)), order, rank
