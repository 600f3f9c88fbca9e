"""Correlation of ranks, and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.metrics.resampling import resamples as resampled

Numbers = NDArray[np.float64]


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation, with what 95 % of resamples hold."""

    spearman: float
    low: float
    high: float
    number: int


def rank_correlation(x: Numbers, y: Numbers, resamples: int = 1000, seed: int = 0) -> RankCorrelation | None:
    """Spearman's correlation of (N,) with (N,), equal values sharing their mean rank.

    A resample is ranked anew, without sorting: the rank of a value follows from how often those below it were drawn.

    Returns:
        None where one of them is the same everywhere.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    columns = [_Ranks(values) for values in (x, y)]
    rng = np.random.default_rng(seed)
    found = np.concatenate([_correlation(weight, columns) for weight in resampled(rng, resamples, len(x))])
    low, high = np.nanquantile(found, [0.025, 0.975])
    whole = _correlation(np.ones((1, len(x))), columns)[0]
    return RankCorrelation(float(whole), float(low), float(high), len(x))


class _Ranks:
    """The order of values (N,), for ranks of any resample of them."""

    def __init__(self, values: Numbers) -> None:
        distinct, self.code = np.unique(values, return_inverse=True)
        self.order = np.argsort(self.code, kind="stable")
        self.start = np.searchsorted(self.code[self.order], np.arange(len(distinct)))

    def of(self, weight: Numbers) -> Numbers:
        """Ranks (B, N) where each value was drawn so often (B, N)."""
        count = np.add.reduceat(weight[:, self.order], self.start, axis=1)
        rank: Numbers = (count.cumsum(1) - count / 2)[:, self.code]
        return rank


def _correlation(weight: Numbers, columns: list[_Ranks]) -> Numbers:
    """(B,) correlation of ranks, NaN where one of them is the same everywhere."""
    total = weight.sum(1, keepdims=True)
    x, y = (ranks.of(weight) for ranks in columns)
    x -= (weight * x).sum(1, keepdims=True) / total
    y -= (weight * y).sum(1, keepdims=True) / total
    spread = np.sqrt((weight * x**2).sum(1) * (weight * y**2).sum(1))
    found: Numbers = np.divide((weight * x * y).sum(1), spread, where=spread > 0, out=np.full(len(weight), np.nan))
    return found
