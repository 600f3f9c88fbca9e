from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from recsys_lightning.metrics import correlation
from recsys_lightning.metrics.correlation import (
    Correlation,
    Pairs,
    correlations,
    exchanged,
    false_discovery_rate,
    pigeonhole,
    share_as_large,
    within_users,
)
from recsys_lightning.metrics.resampling import drawn

Numbers = NDArray[np.float64]
USERS, ITEMS, EACH = 150, 500, 50


class World(NamedTuple):
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    score: Numbers


def world(seed: int, slope: Numbers | None = None, feature: Numbers | None = None, popularity: float = 1.0) -> World:
    """Scores as models make them: popular items score high with everybody, users have tastes.

    Args:
        seed: of all of it.
        slope: (U,) what the feature (I,) does for each user's scores.
        feature: (I,)
        popularity: how much items differ for everybody.
    """
    rng = np.random.default_rng(seed)
    effect = popularity * rng.gamma(0.6, 2, ITEMS)
    users, items = rng.normal(size=(USERS, 8)), rng.normal(size=(ITEMS, 8))
    user = np.repeat(np.arange(USERS), EACH)
    item = np.concatenate([rng.choice(ITEMS, EACH, replace=False) for _ in range(USERS)])
    score = effect[item] + 0.3 * (users[user] * items[item]).sum(1) + 0.5 * rng.normal(size=len(user))
    if slope is not None and feature is not None:
        score = score + slope[user] * feature[item]
    return World(user, item, within_users(user, score))


def features(number: int, seed: int) -> Numbers:
    """Features that know nothing of scores: numbers, skewed numbers, frequent and rare categories."""
    rng = np.random.default_rng([seed, 1])
    made = [
        rng.normal(size=ITEMS),
        rng.lognormal(0, 1.5, ITEMS),
        (rng.random(ITEMS) < 0.2).astype(float),
        (np.arange(ITEMS) < 12).astype(float),
    ]
    return np.stack([rng.permutation(made[place % 4]) for place in range(number)], axis=1)


def found(made: World, table: Numbers, **options: int) -> list[Correlation]:
    names = [str(place) for place in range(table.shape[1])]
    return correlations(*made, table, names, **{"resamples": 300, **options}).features


def by_users_alone(made: World, table: Numbers) -> Numbers:
    """P (F,) of a bootstrap that draws users and leaves the items as they are."""
    x, y = table[made.item], made.score
    sums = np.stack([np.ones(len(y)), y, y**2], axis=1)
    columns = np.concatenate([sums, x, x**2, x * y[:, None]], axis=1)
    of_user = np.zeros((USERS, columns.shape[1]))
    np.add.at(of_user, made.user, columns)
    total = drawn(np.random.default_rng(0), 300, USERS) @ of_user
    mean = total[:, 1:] / total[:, :1]
    (score, square), (mean_x, square_x, product) = mean[:, :2].T, np.split(mean[:, 2:], 3, axis=1)
    r = (product - mean_x * score[:, None]) / np.sqrt((square_x - mean_x**2) * (square - score**2)[:, None])
    whole = np.array([np.corrcoef(column, y)[0, 1] for column in x.T])
    return 2 * stats.norm.sf(np.abs(np.arctanh(whole)) / np.arctanh(r).std(0))


def test_features_that_know_nothing_are_not_significant_where_other_tests_call_most_so() -> None:
    """The A/A check: popular items are alike for all users, so neither pairs nor users count what is independent."""
    ours, raw, naive, of_users = [], [], [], []
    for seed in range(3):
        made, table = world(seed), features(100, seed)
        each = correlations(*made, table, [str(place) for place in range(100)], resamples=300, seed=seed)
        for one in (*each.features, *each.control):
            ours.append(one.significant)
            raw.append(one.p_clustered <= 0.05)
        naive.append(false_discovery_rate(np.array([one.p for one in each.features])) <= 0.05)
        of_users.append(false_discovery_rate(by_users_alone(made, table)) <= 0.05)
    assert len(ours) == 3300 and np.mean(ours) <= 0.01
    assert np.mean(raw) <= 0.05
    assert np.mean(naive) > 0.25 and np.mean(of_users) > 0.25


def test_a_planted_feature_is_found_alone_among_many() -> None:
    table = features(100, seed=9)
    for planted in (0, 2):  # a number and a category
        feature = table[:, planted] / table[:, planted].std()
        made = world(4, np.full(USERS, 0.6), feature)
        each = found(made, table)
        assert [one.feature for one in each if one.significant] == [str(planted)]
        assert each[planted].low > 0.1 and each[planted].p_clustered <= each[planted].q < 0.05


def test_tastes_that_cancel_out_over_users_are_no_effect() -> None:
    """These users' scores do go with the feature, by chance; those of others need not: items alone would say so."""
    ours, of_items = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 2])
        feature = rng.normal(size=ITEMS)
        made = world(seed, 2 * rng.normal(size=USERS), feature, popularity=0.1)
        ours.append(found(made, feature[:, None], resamples=100)[0].p_clustered <= 0.05)
        sums = np.bincount(made.item, made.score)
        by_chance = exchanged(sums, feature[:, None], 200, rng)
        of_items.append(share_as_large(sums @ feature[:, None], by_chance)[0] <= 0.05)
    assert np.mean(ours) <= 0.1 < 0.3 < np.mean(of_items)


def test_intervals_hold_what_the_whole_population_has() -> None:
    """r of a few users and items misses that of all of them no more often than it should."""
    rng = np.random.default_rng(5)
    feature = rng.normal(size=ITEMS)
    covered = []
    for seed in range(60):
        made = world(seed, np.full(USERS, 0.5), feature, popularity=0.5)
        one = found(made, feature[:, None], resamples=100)[0]
        covered.append((one.low, one.high))
    low, high = np.transpose(covered)
    middle = np.median((low + high) / 2)
    assert np.mean((low <= middle) & (middle <= high)) >= 0.9


def test_r_and_its_p_are_pearsons() -> None:
    made, table = world(6), features(6, 6)
    for one, column in zip(found(made, table), table.T, strict=True):
        expected = stats.pearsonr(column[made.item], made.score)
        assert (one.r, one.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue, rel=1e-6))
        assert one.low < one.r < one.high and 0 < one.p_clustered <= one.q <= 1


def test_resamples_are_those_of_pairs_written_out() -> None:
    rng = np.random.default_rng(7)
    user, item, score = rng.integers(0, 7, 60), rng.integers(0, 9, 60), rng.normal(size=60)
    values = rng.normal(size=(9, 2))
    made = pigeonhole(Pairs(user, item, score, (7, 9)), values, 40, np.random.default_rng(8))
    rng = np.random.default_rng(8)
    of_users, of_items = drawn(rng, 40, 7), drawn(rng, 40, 9)
    for row, (users, items) in enumerate(zip(of_users, of_items, strict=True)):
        times = (users[user] * items[item]).astype(int)
        x, y = np.repeat(values[item], times, axis=0), np.repeat(score, times)
        np.testing.assert_allclose(made[row], [np.corrcoef(column, y)[0, 1] for column in x.T])


def test_exchanges_are_fair_draws_of_all_orders() -> None:
    score = np.array([3.0, -1.0, 2.0, -5.0, 1.0])
    values = np.array([[2.0, 1], [0.1, 0], [0.7, 0], [-0.4, 0], [0, 1]])
    exact = np.mean(
        [np.abs(score[list(order)] @ values) >= np.abs(score @ values) - 1e-12 for order in permutations(range(5))],
        axis=0,
    )
    by_chance = exchanged(score, values, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(share_as_large(score @ values, by_chance), exact, atol=0.01)


def test_items_without_a_pair_do_not_count_not_even_in_the_control() -> None:
    """What is dealt out must be what the exchanges deal out, or the control is of another test."""
    found = world(0)
    table, kept = features(12, 0), found.item < 80
    pairs = (found.user[kept], found.item[kept], found.score[kept])
    names = [str(place) for place in range(12)]
    other = table.copy()
    other[80:] *= 100
    sides = [correlations(*pairs, values, names, 100) for values in (table, other)]
    assert sides[0] == sides[1] and len(sides[0].control) == 10 * len(sides[0].features)


def test_false_discovery_rate_is_the_textbooks() -> None:
    p = np.random.default_rng(9).random(50) ** 3
    np.testing.assert_allclose(false_discovery_rate(p), stats.false_discovery_control(p))
    assert false_discovery_rate(np.array([])).tolist() == []


def test_the_same_seed_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made, table = world(10), features(4, 10)
    first = found(made, table)
    assert found(made, table) == first != found(made, table, seed=1)
    monkeypatch.setattr(correlation, "MOST", 0)
    fewer = found(made, table)
    assert [one.r for one in fewer] == [one.r for one in first]
    assert min(one.p_clustered for one in fewer) >= 1 / 301


def test_what_does_not_vary_is_left_out() -> None:
    made, table = world(11), features(3, 11)
    table[:, 1] = 4.0
    assert [one.feature for one in found(made, table)] == ["0", "2"]
    assert found(made, table[:, 1:2]) == []
    assert found(made._replace(score=np.zeros(len(made.score))), table) == []
    assert found(World(made.user[:EACH], made.item[:EACH], made.score[:EACH]), table) == []


def test_scores_are_measured_within_each_user() -> None:
    user = np.array([0, 0, 0, 2, 2, 3, 4, 4, 4])
    score = np.array([1.0, 2, 3, 10, 30, 5, 0.1 + 0.2, 0.3, 0.3])
    z = within_users(user, score)
    for one in (0, 2):
        assert z[user == one].mean() == pytest.approx(0) and z[user == one].std() == pytest.approx(1)
    assert z[5:].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(within_users(user, 1e3 * score - 7)[:5], z[:5])
