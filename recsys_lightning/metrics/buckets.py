"""Figures by how much is known: of an item, its rows in train; of a user, likewise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.metrics.resampling import resamples as resampled

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Bins(NamedTuple):
    """Numbers in a few bins of neighbouring values; zeros, where there are any, in one of their own."""

    code: Counts  # (N,)
    low: list[int]  # least value of each bin
    high: list[int]

    def __len__(self) -> int:
        return len(self.low)

    @property
    def names(self) -> list[str]:
        """Of the bins, as `1 to 5`."""
        return [
            f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in zip(self.low, self.high, strict=True)
        ]


class Share(NamedTuple):
    """Hits among the relevant rows of a bin, with what 95 % of resamples of users hold."""

    users: int
    relevant: int
    recall: float
    low: float
    high: float


def bins(values: Counts, number: int) -> Bins:
    """Bins with equally many values each, but for ties: equal values share a bin.

    Args:
        values: (N,) from 0 on.
        number: of bins, at most, without that of the zeros.
    """
    above = np.sort(values[values > 0])
    starts = np.unique(above[np.arange(number) * len(above) // number]) if len(above) else above
    starts = np.concatenate([[0], starts]) if (values == 0).any() else starts
    code = np.searchsorted(starts, values, side="right") - 1
    high = [int(values[code == place].max()) for place in range(len(starts))]
    return Bins(code.astype(np.int64), [int(start) for start in starts], high)


def recall_by(found: Bins, user: Counts, hit: Flags, resamples: int = 1000, seed: int = 0) -> list[Share]:
    """Hits / relevant rows in each bin, every relevant row counting alike.

    Resamples are of users, whose rows stand or fall together.

    Args:
        found: bins of the relevant rows (R,).
        user: (R,) of the rows.
        hit: (R,) whether the row's item stands in the user's list.
        resamples: number of draws.
        seed: of them.
    """
    _, of = np.unique(user, return_inverse=True)
    users, size = int(of.max(initial=-1)) + 1, len(found)
    relevant, hits = (
        np.bincount(of * size + found.code, weight, minlength=users * size).reshape(users, size)
        for weight in (np.ones(len(of)), hit.astype(np.float64))
    )
    rng = np.random.default_rng(seed)
    drawn = []
    for weight in resampled(rng, resamples, users):
        rows = weight @ relevant
        drawn.append(np.divide(weight @ hits, rows, where=rows > 0, out=np.full(rows.shape, np.nan)))
    low, high = np.nanquantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return [
        Share(
            users=int((relevant[:, place] > 0).sum()),
            relevant=int(relevant[:, place].sum()),
            recall=float(hits[:, place].sum() / relevant[:, place].sum()),
            low=float(low[place]),
            high=float(high[place]),
        )
        for place in range(size)
    ]
