"""How sure a mean over users is: bootstrap intervals, of one model or of the difference of two on the same users.

Users are drawn with replacement and the mean is taken anew; the interval lies between quantiles of such means. A model
trained under several seeds has a value for each seed and user. Users are then drawn with all their seeds, and what the
seeds differ by beyond the noise of single users is added: by one draw of Student's t with S - 1 degrees of freedom for
each mean, so that three lucky seeds do not pass for an effect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 10_000
VALUES_AT_ONCE = 1 << 22
"""So many values are drawn at a time: 32 MiB of indices."""

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean, and where it would lie with other users and seeds of the same kind."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 for an interval above zero, -1 for one below, 0 where zero is inside."""
        return (self.low > 0) - (self.high < 0)

    @property
    def share(self) -> Interval:
        """The same of a mean of values from 0 to 1, which no other users or seeds could take beyond these."""
        return self._replace(low=max(0.0, self.low), high=min(1.0, self.high))


def mean_interval(values: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean over users and seeds, with its interval.

    Args:
        values: (U,) of each user, or (S, U) of each seed and user.
        level: share of such intervals that hold the true mean.
        draws: of the users.
        seed: of the draws.

    Returns:
        An interval without bounds where there are fewer than two users, which tell nothing of others.

    Raises:
        ValueError: a value is no finite number, or the values have another shape.
    """
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2:
        raise ValueError(f"values are (U,) or (S, U), not {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("a value is NaN or infinite: leave out the users that have none")
    num_seeds, num_users = table.shape
    if num_users < 2:
        return Interval(float(table.mean()) if table.size else float("nan"), -np.inf, np.inf)
    rng = np.random.default_rng(seed)
    means = _means(table.mean(0), draws, rng)
    if num_seeds > 1:
        means += _spread_of_seeds(table) * rng.standard_t(num_seeds - 1, draws)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(table.mean()), float(low), float(high))


def paired_interval(
    ours: ArrayLike, base: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The mean difference `ours - base`, with its interval; both of the same users (and seeds), in the same order.

    Raises:
        ValueError: the shapes differ, or as in `mean_interval`.
    """
    first, second = np.asarray(ours, np.float64), np.asarray(base, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"values of the same users are compared: the shapes are {first.shape} and {second.shape}")
    return mean_interval(first - second, level, draws, seed)


def _means(values: Values, draws: int, rng: np.random.Generator) -> Values:
    """Means (draws,) of as many users as there are, drawn with replacement."""
    means = np.empty(draws)
    step = max(1, VALUES_AT_ONCE // len(values))
    for first in range(0, draws, step):
        part = means[first : first + step]
        part[:] = values[rng.integers(0, len(values), (len(part), len(values)))].mean(1)
    return means


def _spread_of_seeds(table: Values) -> float:
    """Standard error that seeds add to the mean over (S, U), beyond what single users' noise explains.

    The variance of the seeds' means estimates that of the seeds plus 1/U of the noise; the latter is known from what
    is left of each value without the means of its seed and its user, and the draws of users hold it already.
    """
    num_seeds, num_users = table.shape
    of_seeds = table.mean(1, keepdims=True)
    residual = table - of_seeds - table.mean(0) + table.mean()
    noise = np.square(residual).sum() / ((num_seeds - 1) * (num_users - 1))
    return float(np.sqrt(max(0.0, of_seeds.var(ddof=1) - noise / num_users) / num_seeds))
