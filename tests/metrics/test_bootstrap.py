from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from recsys_lightning.metrics import bootstrap
from recsys_lightning.metrics.bootstrap import Interval, mean_interval, paired_interval


def skewed(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Values like a metric's: many zeros, some ones, what lies between; their mean is a quarter."""
    return rng.choice([0.0, 0.5, 1.0], p=[0.6, 0.3, 0.1], size=shape)


def test_equals_the_textbook_interval_for_many_users() -> None:
    values = skewed(np.random.default_rng(0), 2000)
    found = mean_interval(values)
    low, high = stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / np.sqrt(len(values)))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_a_pair_of_equal_models_differs_in_one_of_twenty_cases() -> None:
    rng = np.random.default_rng(1)
    signs = []
    for case in range(500):
        taste = rng.random(150)  # what both models see of a user
        ours, base = ((rng.random(150) < taste).astype(float) for _ in range(2))
        signs.append(paired_interval(ours, base, draws=500, seed=case).sign)
    assert 0.02 < np.mean(np.abs(signs)) < 0.09
    assert min(signs) == -1 and max(signs) == 1


@pytest.mark.parametrize(("of_seeds", "of_users", "of_both"), [(0, 1, 0), (0, 0, 1), (0, 1, 1), (0.1, 0.7, 0.7)])
def test_three_lucky_seeds_do_not_pass_for_an_effect(of_seeds: float, of_users: float, of_both: float) -> None:
    rng = np.random.default_rng(2)
    false = 0
    for case in range(300):
        values = (
            of_seeds * rng.normal(size=(3, 1)) + of_users * rng.normal(size=120) + of_both * rng.normal(size=(3, 120))
        )
        false += mean_interval(values, draws=500, seed=case).sign != 0
    assert false / 300 < 0.1


def test_a_small_true_effect_is_found_by_pairing_only() -> None:
    rng = np.random.default_rng(3)
    base = skewed(rng, 400)
    ours = base + 0.02 + 0.05 * rng.normal(size=400)
    assert paired_interval(ours, base).sign == 1
    assert paired_interval(base, ours).sign == -1
    unpaired = mean_interval(ours).low - mean_interval(base).high
    assert unpaired < 0


def test_equal_seeds_add_nothing() -> None:
    values = skewed(np.random.default_rng(4), 300)
    assert mean_interval(np.stack([values] * 3), seed=1) == mean_interval(values, seed=1)


def test_seeds_that_disagree_widen_the_interval() -> None:
    values = skewed(np.random.default_rng(5), 300)
    apart = mean_interval(values + np.array([[-0.2], [0.0], [0.2]]))
    together = mean_interval(values)
    assert apart.mean == pytest.approx(together.mean)
    assert apart.high - apart.low > 4 * (together.high - together.low)


def test_the_same_seed_gives_the_same_interval_however_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    values = skewed(np.random.default_rng(6), 3, 70)
    whole = mean_interval(values, draws=300)
    monkeypatch.setattr(bootstrap, "VALUES_AT_ONCE", 150)
    assert mean_interval(values, draws=300) == whole
    assert mean_interval(values, draws=300, seed=1) != whole


@given(st.integers(2, 60), st.floats(-5, 5), st.floats(0.1, 10), st.integers(0, 9))
def test_moves_and_stretches_with_the_values(users: int, shift: float, scale: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=users)
    plain = np.array(mean_interval(values, draws=50, seed=seed))
    np.testing.assert_allclose(
        mean_interval(scale * values + shift, draws=50, seed=seed), scale * plain + shift, atol=1e-9
    )


def test_a_wider_level_is_a_wider_interval() -> None:
    values = skewed(np.random.default_rng(7), 100)
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low <= narrow.mean <= narrow.high < wide.high


@pytest.mark.parametrize("values", [[0.3], [[0.3], [0.5]]])
def test_one_user_tells_nothing_of_others(values: list[object]) -> None:
    found = mean_interval(values)
    assert (found.low, found.high, found.sign) == (-np.inf, np.inf, 0)
    assert found.mean == pytest.approx(np.mean(values))


def test_no_user_has_no_mean() -> None:
    found = mean_interval([])
    assert np.isnan(found.mean) and found.sign == 0


@pytest.mark.parametrize(
    ("interval", "sign"),
    [((0.2, 0.1, 0.3), 1), ((-0.2, -0.3, -0.1), -1), ((0.1, -0.1, 0.3), 0), ((0.0, 0.0, 0.0), 0)],
)
def test_sign(interval: tuple[float, float, float], sign: int) -> None:
    assert Interval(*interval).sign == sign


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        paired_interval(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="NaN"):
        mean_interval([0.1, float("nan")])
    with pytest.raises(ValueError, match="not \\(2, 2, 2\\)"):
        mean_interval(np.zeros((2, 2, 2)))
