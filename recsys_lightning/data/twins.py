"""Items that are one thing under two ids: told by their titles, or by their users."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.schema import ITEM_ID, TITLE

Pairs = NDArray[np.int64]

_BANDS, _HASHES = 16, 4
_PRIME = np.uint64(0x9E3779B97F4A7C15)


def same_title(items: pd.DataFrame) -> Pairs:
    """(P, 2) items that follow one another under one title, regardless of case and outer spaces.

    Titles that only repeat the id are no titles.
    """
    titles = items[TITLE].astype(str).str.strip().str.casefold()
    titles = titles[(titles != "") & (items[TITLE] != items[ITEM_ID])].sort_values(kind="stable")
    again = titles.to_numpy()[1:] == titles.to_numpy()[:-1]
    place = titles.index.to_numpy(np.int64)
    return np.stack([place[:-1][again], place[1:][again]], axis=1)


def same_audience(rows: Interactions, least_users: int = 20, similarity: float = 0.9) -> Pairs:
    """(P, 2) items whose sets of users, all splits together, have a Jaccard similarity of at least `similarity`.

    Candidates come from min-hashes, sixteen bands of four: a pair of similarity 0.9 is missed once in 10^7. Each
    candidate is then counted exactly.

    Args:
        rows: in any order.
        least_users: items with fewer users are passed over: small sets coincide by chance.
        similarity: what counts as nearly the same.
    """
    matrix = sparse.csr_array((np.ones(len(rows), np.int32), (rows.item, rows.user)), (rows.num_items, rows.num_users))
    matrix.data[:] = 1  # repeated pairs count once
    size = np.diff(matrix.indptr)
    large = np.flatnonzero(size >= least_users)
    if len(large) < 2:
        return np.zeros((0, 2), np.int64)
    chosen = matrix[large]
    pairs = _candidates(chosen)
    both = chosen[pairs[:, 0]].multiply(chosen[pairs[:, 1]])
    shared: NDArray[np.int64] = np.asarray(both.sum(axis=1)).ravel()
    union = size[large][pairs].sum(axis=1) - shared
    twins: Pairs = large[pairs[shared >= similarity * union]]
    return twins


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
