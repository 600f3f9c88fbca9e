from __future__ import annotations

import numpy as np
import pytest

from recsys_lightning.metrics import resampling
from recsys_lightning.metrics.resampling import blocks, drawn, resamples


def test_each_row_draws_as_many_as_there_are() -> None:
    weight = drawn(np.random.default_rng(0), 2000, 5)
    assert (weight.sum(1) == 5).all() and set(np.unique(weight)) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_allclose(weight.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(weight.var(0), 0.8, atol=0.1)  # 5 draws, each with chance 1/5


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(np.random.default_rng(1), 10, 7)
    monkeypatch.setattr(resampling, "AT_ONCE", 21)
    parts = list(resamples(np.random.default_rng(1), 10, 7))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert (np.concatenate(parts) == whole).all()


def test_a_row_is_the_least_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "AT_ONCE", 4)
    assert list(blocks(3, 100)) == [1, 1, 1] and list(blocks(0, 5)) == []
