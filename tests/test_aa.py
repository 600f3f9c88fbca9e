"""`experiments/aa.py`: comparisons of what does not differ claim a difference as often as they say, and no more."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binomtest, nct, t

from tests.conftest import REPOSITORY
from tests.reports.compared import values, write


@pytest.fixture
def aa(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(REPOSITORY / "experiments"))
    yield importlib.import_module("aa")


def test_false_claims_are_as_frequent_as_the_level_and_effects_as_the_predicted_power(aa: ModuleType) -> None:
    """On differences as skewed as those of models: most users have nothing of either."""
    null = aa.null_differences(values(1) ** 2, values(2) ** 2)
    assert abs(null.mean()) < 1e-15
    none = aa.claims(null, 0.0, users=200, draws=1000, resamples=500)
    assert all(abs(share.share - 0.05) <= 0.015 for share in (none.interval, none.t_test)), none
    assert none.both.claims <= min(none.interval.claims, none.t_test.claims)
    effect = aa.effect_of(0.8, 200)
    found = aa.claims(null, effect * null.std(), users=200, draws=400, resamples=500)
    assert abs(found.t_test.share - 0.8) <= 0.06 and abs(found.interval.share - 0.8) <= 0.06, found


def test_power_and_intervals_are_those_of_scipy(aa: ModuleType) -> None:
    bound = t.isf(0.025, 199)
    centre = 0.2 * 200**0.5
    assert aa.power(0.2, 200) == pytest.approx(nct.sf(bound, 199, centre) + nct.cdf(-bound, 199, centre))
    assert aa.power(0, 200) == pytest.approx(0.05) and aa.power(aa.effect_of(0.95, 50), 50) == pytest.approx(0.95)
    for claims in (0, 7, 100):
        expected = binomtest(claims, 100).proportion_ci()
        assert aa.Share(claims, 100).interval == pytest.approx((expected.low, expected.high))


def test_the_command_prints_both_tables(aa: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, base = (str(write(tmp_path / name, values(seed), name)) for seed, name in enumerate("ab"))
    words = ["--run", run, "--draws", "5", "--users", "20"]
    for more in ([], ["--base", base]):
        assert aa.main([*words, *more]) == 0
        out = capsys.readouterr().out
        assert "| no difference | 0.0000 | 5.0% |" in out and out.count("| a difference |") == 3
    for wrong, message in (
        ([*words, "--draws", "0"], "--draws is at least 1"),
        ([*words, "--base", run], "is given twice"),
        ([*words, "--metric", "x"], "has no x"),
    ):
        assert aa.main(wrong) == 2 and message in capsys.readouterr().err
    same = str(write(tmp_path / "same", values(0), "c"))
    assert aa.main([*words, "--base", same]) == 2 and "do not differ" in capsys.readouterr().err


def test_other_users_of_the_same_run_are_no_better(aa: ModuleType) -> None:
    null = aa.null_differences(values(), None, seed=3)
    assert abs(np.mean(null)) < 1e-15 and null.std() == pytest.approx(2**0.5 * values().std(), rel=0.1)
