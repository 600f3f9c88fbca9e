"""The best items of a row of scores or of a vector: exactly, or by an approximate index."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.errors import extra
from recsys_lightning.serving.format import Floats, Ints

BLOCK = 256
"""Neighbouring scores of which only the largest is looked at first."""

PROBED = 16
"""One cluster in so many is looked into by the approximate index,"""

LEAST_PROBED = 32
"""and so many at least."""

SAMPLE = 40
"""Vectors per cluster that the approximate index learns its clusters from: FAISS asks for no fewer."""

BATCH = 1 << 18
"""Vectors that are added to it at a time."""


class Best(NamedTuple):
    """The best items, best first."""

    item: Ints  # (n,)
    score: Floats  # (n,)


def best(scores: Floats, k: int, priority: Ints) -> Best:
    """The k best items, by score downwards, equal scores by priority upwards; fewer where fewer are left.

    The same order as `metrics.ranking.top_k` makes. The k-th largest of the maxima of blocks is no more than the k-th
    largest score, so whatever is below it needs no sorting.

    Args:
        scores: (I,); -inf marks an item that is not to be recommended.
        k: at least 1.
        priority: (I,) a permutation.
    """
    blocks = len(scores) // BLOCK
    bound = -np.inf
    if blocks > k:
        maxima = scores[: blocks * BLOCK].reshape(blocks, BLOCK).max(1)
        bound = np.partition(maxima, blocks - k)[blocks - k]
    items = np.flatnonzero(scores >= bound)
    return among(items, scores[items], k, priority)


def among(items: Ints, scores: Floats, k: int, priority: Ints) -> Best:
    """The k best of some items (n,) with their scores (n,); priority (I,) is of all."""
    ranked = scores > -np.inf
    items, scores = items[ranked], scores[ranked]
    if len(items) > k:
        last = np.partition(scores, len(scores) - k)[len(scores) - k]
        above, shared = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
        first = shared[np.argsort(priority[items[shared]])[: k - len(above)]]
        chosen = np.concatenate([above, first])
        items, scores = items[chosen], scores[chosen]
    order = np.lexsort((priority[items], -scores))
    return Best(items[order], scores[order])


class Faiss:
    """An inverted file over clusters of item vectors, by inner product: it looks into the nearest clusters only.

    Vectors get one more number, sqrt(longest^2 - length^2), which makes all of them equally long: it changes no inner
    product with (u, 0), and clusters then say where products are large, not only where vectors are alike.

    Source of the reduction: Bachrach et al., RecSys 2014.

    Args:
        items: (I, D).

    Raises:
        InputError: faiss cannot be imported.
    """

    def __init__(self, items: Floats) -> None:
        faiss = extra("faiss", "--index faiss", "serve")
        count, dim = items.shape
        lists = max(1, min(int(2 * np.sqrt(count)), count // SAMPLE))
        squared = np.einsum("id,id->i", items, items)
        rest = np.sqrt(squared.max(initial=0) - squared)[:, None]
        chosen = np.sort(np.random.default_rng(0).permutation(count)[: SAMPLE * lists])
        index: Any = faiss.index_factory(dim + 1, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(np.concatenate([items[chosen], rest[chosen]], 1))
        for first in range(0, count, BATCH):
            part = slice(first, first + BATCH)
            index.add(np.concatenate([items[part], rest[part]], 1))
        index.nprobe = min(lists, max(LEAST_PROBED, lists // PROBED))
        self._index = index

    def find(self, vectors: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """Scores and items (B, k) for vectors (B, D), best first; -1 where the clusters looked into have no more."""
        found: tuple[Floats, NDArray[np.int64]] = self._index.search(np.pad(vectors, ((0, 0), (0, 1))), k)
        return found
