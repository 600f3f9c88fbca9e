from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from recsys_lightning.metrics.significance import chance, effect_size, holm


def test_holm_multiplies_the_least_most_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1, 1] and holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_holm_keeps_the_order_and_is_never_more_lenient(p: list[float], seed: int) -> None:
    adjusted = holm(p)
    assert all(one <= other <= 1 for one, other in zip(p, adjusted, strict=True))
    ascending = [adjusted[place] for place in np.argsort(p, kind="stable")]
    assert ascending == sorted(ascending)
    order = np.random.default_rng(seed).permutation(len(p))
    assert holm([p[place] for place in order]) == [adjusted[place] for place in order]  # equal ones stay equal


def test_chances_are_those_of_a_paired_t_test() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    assert chance(x, y + 0.3) == pytest.approx(float(ttest_rel(x, y + 0.3).pvalue))
    assert chance(x[None], y[None] + 0.3) == pytest.approx(chance(x, y + 0.3))
    assert chance(x, x) == 1 and chance(x[:1], y[:1]) == 1 and chance(x, x + 1) == 0


def test_seeds_that_differ_make_a_difference_less_sure() -> None:
    rng = np.random.default_rng(1)
    users = rng.normal(0.3, 1, (1, 200)) + rng.normal(0, 0.2, (3, 200))
    users += 0.3 - users.mean(1, keepdims=True)
    luck = np.array([[-0.3], [0.0], [0.3]])
    alike, unlike = chance(users, np.zeros_like(users)), chance(users + luck, np.zeros_like(users))
    assert alike < 0.01 < 0.05 < unlike
    assert alike == pytest.approx(chance(users.mean(0), np.zeros(200)))  # their spread is the users' noise
    assert chance(users + luck, luck + np.zeros_like(users)) == pytest.approx(alike)


@pytest.mark.parametrize("luck", [0.0, 1.0, 3.0])
def test_three_lucky_seeds_are_seldom_taken_for_an_effect(luck: float) -> None:
    """The share of false claims is that of the level, whatever seeds differ by beside the error of users."""
    rng, users, draws = np.random.default_rng(2), 60, 600
    found = 0
    for _ in range(draws):
        table = rng.normal(size=users) + rng.normal(size=(3, users)) + rng.normal(0, luck / users**0.5, (3, 1))
        found += chance(table, np.zeros_like(table)) <= 0.05
    assert found / draws < 0.075, "5 % and three standard errors"


def test_the_effect_size_is_t_without_the_number_of_users() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 80))
    assert effect_size(x, y) * 80**0.5 == pytest.approx(float(ttest_rel(x, y).statistic))
    assert effect_size(np.tile(x, 50), np.tile(y, 50)) == pytest.approx(effect_size(x, y), rel=0.01)
    assert effect_size(y, x) == pytest.approx(-effect_size(x, y)) == pytest.approx(-effect_size(3 * x, 3 * y))
    assert effect_size([x, x], [y, y]) == pytest.approx(effect_size(x, y))


def test_effects_without_a_spread() -> None:
    x = np.ones(5)
    assert effect_size(x, x) == 0 and effect_size(x, x - 1) == np.inf and effect_size(x - 1, x) == -np.inf
    assert np.isnan(effect_size(x[:1], x[:1]))
