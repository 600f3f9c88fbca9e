"""What scores go with: correlations with features of items, tested as pairs of a user and an item ask for.

Pairs are not independent. Those of one user share the user, and those of one item share all that is peculiar to the
item: every user's score of a popular item is high. A feature belongs to items, so there are only as many independent
values of it as there are items, however many pairs are drawn. Pearson's p counts pairs, and a bootstrap of users keeps
the items as they are: both take chance likeness to the items' own effects for an effect of the feature, and call most
features significant even after these have been dealt out among the items at random.

So a feature has to pass two tests, and `p_clustered` is the larger of their p:

* Items exchange the values of the feature, at random. This is exact where features have nothing to do with scores, for
  rare categories and skewed numbers too, of these users.
* Users and items are drawn with replacement, independently of one another, and a pair counts the product of both
  (the pigeonhole bootstrap; Owen, Annals of Applied Statistics 2007). It asks whether other users would agree, and
  gives the interval too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.metrics.resampling import blocks, drawn

if TYPE_CHECKING:
    from scipy import sparse

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

LEAST = 5
"""Exchanges for each place below the strictest threshold: so many tell whether one feature of all is significant."""

DEALS = 10
"""Times that features are dealt out for the control."""

MOST = 10**8
"""Values that are exchanged in all, at most, where that leaves as many exchanges as resamples."""

LARGEST = 1 - 1e-12
"""Largest |r|, so that its transform is finite."""


class Correlation(NamedTuple):
    """How the scores of pairs go with one feature of their items."""

    feature: str
    r: float
    p: float  # Pearson's, as if pairs were independent
    low: float
    high: float  # 95 % of resamples of users and items lie between the two
    p_clustered: float
    q: float  # of p_clustered, after Benjamini and Hochberg (1995), over all features
    significant: bool


class Correlations(NamedTuple):
    """What was found, and what is found when all features have been dealt out among the items at random: nothing.

    More than alpha of the control significant would say that the tests are wrong for these scores.
    """

    features: list[Correlation]
    control: list[Correlation]  # features of the first deal, of the second, ...


class Pairs(NamedTuple):
    """Scores of pairs, by users and items that are counted anew from 0."""

    user: Codes  # (N,)
    item: Codes  # (N,)
    score: Numbers  # (N,), with mean 0
    size: tuple[int, int]  # users, items

    def table(self, values: Numbers) -> sparse.csr_array:
        """Values (N,) of the pairs as (items, users)."""
        from scipy import sparse

        return sparse.csr_array((values, (self.item, self.user)), shape=self.size[::-1])


def within_users(user: Codes, score: Numbers) -> Numbers:
    """Scores (N,) in standard deviations from the mean of their user (N,), as lists compare a user's own scores only.

    Scores of a user who has but one, or equal ones, become 0.
    """
    count = np.maximum(np.bincount(user), 1)
    centred = score - (np.bincount(user, score) / count)[user]
    spread = np.sqrt(np.bincount(user, centred**2) / count)
    largest = np.zeros(len(count))
    np.maximum.at(largest, user, np.abs(score))
    equal = spread <= 1e-6 * largest  # what rounding leaves of equal scores is no spread
    return np.where(equal[user], 0.0, centred / np.where(equal, 1.0, spread)[user])


def correlations(
    user: Codes,
    item: Codes,
    score: Numbers,
    features: Numbers,
    names: Sequence[str],
    resamples: int = 1000,
    alpha: float = 0.05,
    seed: int = 0,
) -> Correlations:
    """Each feature that is not the same for all items of the pairs, in the order given; and a control of the tests.

    Args:
        user: (N,) of the pairs.
        item: (N,) of the pairs.
        score: (N,) of the pairs.
        features: (I, F) of all items.
        names: of the features.
        resamples: of users and items; items exchange features at least as often, and the more often the more features
            there are, so that q can fall below alpha for a single one; but for catalogues beyond some 50,000 items.
        alpha: largest q that is called significant.
        seed: of both, and of the control.
    """
    items, code = np.unique(item, return_inverse=True)
    users, of = np.unique(user, return_inverse=True)
    if len(users) < 3 or np.ptp(score) == 0:
        return Correlations([], [])
    varying = np.ptp(features[items], axis=0) > 0
    if not varying.any():
        return Correlations([], [])
    chosen = features[:, varying]
    titles = [name for name, kept in zip(names, varying.tolist(), strict=True) if kept]
    pairs = Pairs(of, code, score - score.mean(), (len(users), len(items)))
    deal = np.random.default_rng([seed, 2])
    # among the items of the pairs: what the others have is in none of the exchanges that these are held against
    dealt = [items, *(deal.permutation(items) for _ in range(DEALS))]
    groups = []
    for columns in _tested(pairs, [chosen[place] for place in dealt], resamples, alpha, seed):
        q = false_discovery_rate(columns[-1])
        figures = (each.tolist() for each in (*columns, q, q <= alpha))
        groups.append([Correlation(*row) for row in zip(titles, *figures, strict=True)])
    return Correlations(groups[0], [one for group in groups[1:] for one in group])


def false_discovery_rate(p: Numbers) -> Numbers:
    """Q of each p (F,): the least share of false discoveries at which it is one (Benjamini and Hochberg, 1995)."""
    order = np.argsort(p)[::-1]
    place = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / place), 1) if len(p) else p
    return q


def _tested(
    pairs: Pairs, tables: Sequence[Numbers], resamples: int, alpha: float, seed: int
) -> list[tuple[Numbers, ...]]:
    """R, Pearson's p, the interval's two ends, and the clustered p, (F,) each, of each table (items, F) of features.

    The first is that of the features, and the others have their columns in other orders, which leaves what exchanges
    of the items make of them the same.
    """
    from scipy.special import ndtr, stdtr

    number, width = len(pairs.score), tables[0].shape[1]
    sums: Numbers = np.bincount(pairs.item, pairs.score).astype(np.float64)
    values = _standardised(np.concatenate(tables, axis=1), np.bincount(pairs.item))
    r = np.clip(sums @ values / number / pairs.score.std(), -LARGEST, LARGEST)
    naive = 2 * stdtr(number - 2, -np.abs(r) * np.sqrt((number - 2) / (1 - r**2)))
    others = np.clip(pigeonhole(pairs, values, resamples, np.random.default_rng([seed, 0])), -LARGEST, LARGEST)
    of_both = 2 * ndtr(-np.abs(np.arctanh(r)) / np.maximum(np.arctanh(others).std(0, ddof=1), 1e-12))
    low, high = np.quantile(others, [0.025, 0.975], axis=0)
    times = max(resamples, min(math.ceil(LEAST * width / alpha), MOST // len(sums)))
    by_chance = exchanged(sums, tables[0], times, np.random.default_rng([seed, 1]))
    found: list[tuple[Numbers, ...]] = []
    for place, table in enumerate(tables):
        own = slice(place * width, (place + 1) * width)
        p = np.maximum(of_both[own], share_as_large(sums @ table, by_chance))
        found.append((r[own], naive[own], low[own], high[own], p))
    return found


def _standardised(values: Numbers, count: Codes) -> Numbers:
    """Columns (items, F) with mean 0 and variance 1 over pairs, of which an item has so many; 0 where all are equal."""
    values = values - count @ values / count.sum()
    spread = np.sqrt(count @ values**2 / count.sum())
    made: Numbers = np.divide(values, spread, where=spread > 0, out=np.zeros_like(values))
    return made


def pigeonhole(pairs: Pairs, values: Numbers, resamples: int, rng: np.random.Generator) -> Numbers:
    """Pearson's r (resamples, F) with users and items drawn with replacement, independently.

    Sums over the pairs of each item are those of its users, weighed by how often these were drawn: a matrix product
    for all resamples, and another one for all features.

    Args:
        pairs: scores.
        values: (items, F) features.
        resamples: number of draws.
        rng: draws.
    """
    ones = np.ones(len(pairs.score))
    tables = [pairs.table(value) for value in (ones, pairs.score, pairs.score**2)]
    found = []
    for size in blocks(resamples, max(pairs.size)):
        of_users, of_items = drawn(rng, size, pairs.size[0]), drawn(rng, size, pairs.size[1])
        count, first, second = ((table @ of_users.T).T * of_items for table in tables)
        total = np.maximum(count.sum(1, keepdims=True), 1)
        mean, mean_score = count @ values / total, first.sum(1, keepdims=True) / total
        spread = count @ values**2 / total - mean**2
        spread_score = second.sum(1, keepdims=True) / total - mean_score**2
        both = spread * spread_score
        with_ = first @ values / total - mean * mean_score
        found.append(np.divide(with_, np.sqrt(np.maximum(both, 0)), where=both > 1e-18, out=np.zeros_like(with_)))
    return np.concatenate(found)


def exchanged(score: Numbers, values: Numbers, times: int, rng: np.random.Generator) -> Numbers:
    """Covariances (times, F) when items exchange their values at random, each multiplied by the number of items.

    Args:
        score: (items,) sum over the pairs of each item, with sum 0.
        values: (items, F) features.
        times: number of exchanges.
        rng: of them.
    """
    sizes = blocks(times, len(score))
    return np.concatenate([rng.permuted(np.tile(score, (size, 1)), axis=1) @ values for size in sizes])


def share_as_large(found: Numbers, by_chance: Numbers) -> Numbers:
    """P (F,) of values as large, in either direction, as what was found, by those (times, F) that chance made."""
    least = np.abs(found) * (1 - 1e-9)  # sums of the same numbers in another order are equal but for rounding
    share: Numbers = (1 + (np.abs(by_chance) >= least).sum(0)) / (1 + len(by_chance))
    return share
