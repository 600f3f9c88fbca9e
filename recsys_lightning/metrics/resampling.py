"""Draws with replacement as weights: how often each was drawn, for statistics that are sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

AT_ONCE = 1 << 21
"""So many weights are held at a time: 16 MiB."""


def drawn(rng: np.random.Generator, rows: int, number: int) -> Numbers:
    """(rows, number) how often each is drawn, in as many draws as there are."""
    places = rng.integers(0, number, (rows, number)) + number * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * number).reshape(rows, number).astype(np.float64)


def resamples(rng: np.random.Generator, rows: int, number: int) -> Iterator[Numbers]:
    """The same in blocks of rows."""
    for size in blocks(rows, number):
        yield drawn(rng, size, number)


def blocks(rows: int, number: int) -> Iterator[int]:
    """How many rows each block has, where a row has so many weights."""
    step = max(1, AT_ONCE // max(1, number))
    for first in range(0, rows, step):
        yield min(step, rows - first)
