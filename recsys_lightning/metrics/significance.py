"""Whether a difference between two models is more than chance, and how large it is beside its spread over users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

NO_SPREAD = 1e-12
"""Spreads below it are rounding."""


def chance(ours: ArrayLike, base: ArrayLike) -> float:
    """Two-sided p of a paired t test of values of the same users.

    Of several seeds, users and seeds are both drawn out of many: the error of the mean has a part of each (a two-way
    analysis of variance with random effects), and the degrees of freedom are Satterthwaite's.

    Args:
        ours: (U,) of each user, or (S, U) of each seed and user.
        base: of the same shape.

    Returns:
        1 where the values do not differ, or there are fewer than two users.
    """
    from scipy.special import stdtr

    differences = np.atleast_2d(np.asarray(ours, np.float64) - np.asarray(base, np.float64))
    if differences.shape[1] < 2 or not differences.any():
        return 1.0
    error, freedom = _error(differences)
    t = abs(differences.mean()) / error if error > NO_SPREAD else np.inf
    return float(2 * stdtr(freedom, -t))


def holm(p: Sequence[float]) -> list[float]:
    """What chances are worth when there are so many: those below 5 % are together wrong in at most 5 % of such tests.

    Holm, 1979: the least is multiplied by their number, the next one by one less, and none falls below a lesser one.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted.tolist()


def effect_size(ours: ArrayLike, base: ArrayLike) -> float:
    """Cohen's d_z: the mean of the paired differences over their standard deviation over users.

    It does not grow with the number of users, as t does: t = d_z sqrt(U) for one seed. Of several seeds, each user's
    differences are averaged first.

    Args:
        ours: (U,) of each user, or (S, U) of each seed and user.
        base: of the same shape.

    Returns:
        0 where nothing differs; infinite where all users differ alike; NaN where there are fewer than two users.
    """
    differences = np.atleast_2d(np.asarray(ours, np.float64) - np.asarray(base, np.float64)).mean(0)
    if len(differences) < 2:
        return float("nan")
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread > NO_SPREAD:
        return mean / spread
    return 0.0 if abs(mean) <= NO_SPREAD else float(np.copysign(np.inf, mean))


def _error(differences: Values) -> tuple[float, float]:
    """Standard error of the mean over (S, U) differences, and its degrees of freedom."""
    seeds, users = differences.shape
    of_users = differences.mean(0).var(ddof=1) / users
    if seeds == 1:
        return float(np.sqrt(of_users)), users - 1
    of_seeds = differences.mean(1).var(ddof=1) / seeds
    rest = differences - differences.mean(0) - differences.mean(1, keepdims=True) + differences.mean()
    of_both = np.square(rest).sum() / ((seeds - 1) * (users - 1)) / (seeds * users)
    if of_seeds <= of_both:  # the seeds differ by no more than single users' noise explains
        return float(np.sqrt(of_users)), users - 1
    square = of_users + of_seeds - of_both
    parts = of_users**2 / (users - 1) + of_seeds**2 / (seeds - 1) + of_both**2 / ((seeds - 1) * (users - 1))
    return float(np.sqrt(square)), float(square**2 / parts)
