"""One thing under two ids: items told by their titles or their users, users told by their items."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_object_dtype
from scipy import sparse

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.schema import ITEM_ID, TITLE

Pairs = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BANDS, _HASHES = 16, 4
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_NEAR = 8
"""Items of one title are compared with so many that follow; more under one title are a series, no twins."""

_YEAR, _GENRES = "year", "genres"


def titled(items: pd.DataFrame) -> Mask:
    """(I,) items that have a title: one that only repeats the id is none."""
    known: Mask = ((items[TITLE].astype(str).str.strip() != "") & (items[TITLE] != items[ITEM_ID])).to_numpy()
    return known


def same_title(items: pd.DataFrame, sure: bool = False) -> Pairs:
    """(P, 2) items of one title, regardless of case and outer spaces, the smaller index first.

    Items whose years differ by more than one are different things (a remake), and so are items of whom a column of
    lists (directors, authors, genres) is known of both and has nothing in common.

    Args:
        items: row r describes item r, with `item_id` and `title`.
        sure: leave out those of which nothing but title and genres says that they are one: years or another list must
            agree.
    """
    known = np.flatnonzero(titled(items))
    titles = items[TITLE].astype(str).str.strip().str.casefold().to_numpy(object)[known]
    order = np.argsort(titles, kind="stable")
    place, titles = known[order], titles[order]
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, min(_NEAR, len(place))):
        again = titles[step:] == titles[:-step]
        found.append(np.stack([place[:-step][again], place[step:][again]], axis=1))
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    agree, differ = _compared(items, pairs)
    return pairs[agree & ~differ if sure else ~differ]


def _compared(items: pd.DataFrame, pairs: Pairs) -> tuple[Mask, Mask]:
    """(P,) pairs of whom some attribute is alike, and pairs of whom some differs."""
    agree, differ = np.zeros((2, len(pairs)), np.bool_)
    if _YEAR in items and pd.api.types.is_numeric_dtype(items[_YEAR]):
        year = items[_YEAR].to_numpy(np.float64, na_value=np.nan)
        apart = np.abs(year[pairs[:, 0]] - year[pairs[:, 1]])
        agree, differ = apart <= 1, apart > 1
    for name in items:
        if not is_object_dtype(items[name]):
            continue
        values = items[name].to_numpy()
        for row, (a, b) in enumerate(pairs):
            if isinstance(values[a], list) and isinstance(values[b], list) and values[a] and values[b]:
                common = bool(set(map(str, values[a])) & set(map(str, values[b])))
                agree[row] |= common and name != _GENRES
                differ[row] |= not common
    return agree, differ


def same_audience(rows: Interactions, least_users: int = 20, similarity: float = 0.9) -> Pairs:
    """(P, 2) items whose sets of users, all splits together, have a Jaccard similarity of at least `similarity`.

    Args:
        rows: in any order.
        least_users: items with fewer users are passed over: small sets coincide by chance.
        similarity: what counts as nearly the same.
    """
    return _similar(rows.item, rows.user, (rows.num_items, rows.num_users), least_users, similarity)


def same_history(rows: Interactions, least_items: int = 20, similarity: float = 0.9) -> Pairs:
    """(P, 2) users whose sets of items, all splits together, are as similar: one person with two accounts.

    Args:
        rows: in any order.
        least_items: users with fewer items are passed over, likewise.
        similarity: what counts as nearly the same.
    """
    return _similar(rows.user, rows.item, (rows.num_users, rows.num_items), least_items, similarity)


def _similar(
    codes: NDArray[np.int32], members: NDArray[np.int32], shape: tuple[int, int], least: int, similarity: float
) -> Pairs:
    """Pairs of codes whose sets of members are nearly the same.

    Candidates come from min-hashes, sixteen bands of four: a pair of similarity 0.9 is missed once in 10^7. Each
    candidate is then counted exactly.
    """
    matrix = sparse.csr_array((np.ones(len(codes), np.int32), (codes, members)), shape)
    matrix.data[:] = 1  # repeated pairs count once
    size = np.diff(matrix.indptr)
    large = np.flatnonzero(size >= least)
    if len(large) < 2:
        return np.zeros((0, 2), np.int64)
    chosen = matrix[large]
    pairs = _candidates(chosen)
    both = chosen[pairs[:, 0]].multiply(chosen[pairs[:, 1]])
    shared: NDArray[np.int64] = np.asarray(both.sum(axis=1)).ravel()
    union = size[large][pairs].sum(axis=1) - shared
    twins: Pairs = large[pairs[shared >= similarity * union]]
    return twins


def answered(codes: NDArray[np.int32], others: NDArray[np.int32], seen: Mask, held: Mask, pairs: Pairs) -> Mask:
    """(N,) held rows whose twin is seen: a row of the other code of a pair, with the same counterpart.

    Args:
        codes: (N,) items, or users.
        others: (N,) users, or items.
        seen: (N,) rows that models see.
        held: (N,) rows that they are to find.
        pairs: of codes, each once.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    twin_of = sparse.csr_array(
        (np.ones(len(both), np.int32), (both[:, 0], both[:, 1])), (int(codes.max(initial=0)) + 1,) * 2
    )
    mine = np.flatnonzero(np.isin(codes, both))
    size = int(others.max(initial=0)) + 1
    shown, asked = mine[seen[mine]], mine[held[mine]]
    known = sparse.csr_array((np.ones(len(shown), np.int32), (codes[shown], others[shown])), (twin_of.shape[0], size))
    told = (twin_of @ known).tocoo()
    keys = np.unique(told.row.astype(np.int64) * size + told.col)
    mask = np.zeros(len(codes), np.bool_)
    mask[asked[np.isin(codes[asked].astype(np.int64) * size + others[asked], keys)]] = True
    return mask


def _candidates(sets: sparse.csr_array) -> Pairs:
    """Pairs of neighbouring rows that agree in all min-hashes of some band."""
    found = []
    user = np.arange(sets.shape[1], dtype=np.uint64)
    for band in range(_BANDS):
        key = np.zeros(sets.shape[0], np.uint64)
        for hashed in range(_HASHES):
            number = _scatter(user + np.uint64((band * _HASHES + hashed) << 40))
            least = np.minimum.reduceat(number[sets.indices], sets.indptr[:-1])
            key = _scatter(key ^ least)
        order = np.argsort(key, kind="stable")
        again = key[order][1:] == key[order][:-1]
        found.append(np.sort(np.stack([order[:-1][again], order[1:][again]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _scatter(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection that mixes the bits: the finaliser of splitmix64."""
    word = word * _PRIME + np.uint64(1)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
