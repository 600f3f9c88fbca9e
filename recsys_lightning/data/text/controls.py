"""Controls for the claim that text helps: vectors that say as much in number and length, and nothing of the item."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.text.item_text import ItemText


def shuffled(text: ItemText, known: NDArray[np.bool_], seed: int) -> ItemText:
    """Each item gets what is written about another one, overview and reviews together.

    Args:
        text: of the items.
        known: (I,) items of train, which exchange their texts among themselves, as do the others.
        seed: of the exchange.
    """
    return text.take(partners(known, seed))


def partners(known: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """(I,) another item for each item: of train for those of train, of the others for the others.

    Args:
        known: (I,) items of train.
        seed: of the exchange.
    """
    random = np.random.default_rng(seed)
    source = np.arange(len(known))
    for group in (np.flatnonzero(known), np.flatnonzero(~known)):
        ring = random.permutation(group)  # no item keeps its own, as in any permutation one would on average
        source[ring] = np.roll(ring, 1)
    return source


def randomised(text: ItemText, seed: int) -> ItemText:
    """Each vector gives way to a Gaussian one of its length; missing ones stay missing."""
    streams = np.random.default_rng(seed).spawn(2)  # two, so that the number of items changes no review
    overview, review = (
        _like(array, random) for array, random in zip((text.overview, text.review), streams, strict=True)
    )
    return replace(text, overview=overview, review=review)


def _like(vectors: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    drawn = random.standard_normal(vectors.shape, np.float32)
    drawn *= np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn
