from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recsys_lightning.metrics.ranks import _correlation, _Ranks, rank_correlation
from recsys_lightning.metrics.resampling import drawn


@given(st.integers(3, 40), st.integers(2, 9), st.integers(0, 99))
def test_equals_spearmans_with_ties(number: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, distinct, number).astype(float), rng.normal(size=number)
    found = rank_correlation(x, y, resamples=100)
    if len(np.unique(x)) < 2:
        assert found is None
    else:
        assert found is not None and found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.low <= found.high and found.number == number


def test_resamples_are_ranked_anew() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 25).astype(float), rng.normal(size=25).round(1)
    weight = drawn(rng, 30, 25)
    found = _correlation(weight, [_Ranks(x), _Ranks(y)])
    for row, rho in zip(weight.astype(int), found, strict=True):
        assert rho == pytest.approx(stats.spearmanr(np.repeat(x, row), np.repeat(y, row)).statistic)


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's of two normal numbers with correlation 1/2
    held = []
    for seed in range(150):
        x, noise = rng.normal(size=(2, 150))
        one = rank_correlation(x, 0.5 * x + np.sqrt(0.75) * noise, resamples=200, seed=seed)
        assert one is not None
        held.append(one.low <= truth <= one.high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_what_is_the_same_everywhere_has_none() -> None:
    x = np.arange(5.0)
    assert rank_correlation(x, np.ones(5)) is None
    assert rank_correlation(np.ones(5), x) is None
    assert rank_correlation(x[:2], x[:2]) is None
