from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys_lightning.data.audit.future import future, history
from tests.data.memory import interactions


def test_future_figures_are_what_they_say() -> None:
    rows = interactions(
        [("a", "x"), ("a", "y"), ("a", "z"), ("b", "z"), ("b", "x")],
        timestamp=[1, 5, 3, 4, 9],
        split=[0, 0, 2, 0, 2],
    )
    # the test row of a at 3 is older than the train row at 5, that of b is not; at 3 y does not exist yet, at 9 all do
    assert future(rows) == pytest.approx((2, 1 / 2, (1 / 3 + 0) / 2))
    assert future(replace(rows, timestamp=None)) is None
    assert future(replace(rows, split=np.zeros(5, np.int8))) is None


def test_rows_that_are_given_out_of_order_are_of_the_future() -> None:
    rows = interactions([("a", "x"), ("a", "y"), ("b", "z")], timestamp=[5, 3, 4], split=[3, 2, 0])
    figures = future(rows)
    assert figures is not None and figures.history == 1


def test_an_order_tells_of_the_future_too_whatever_the_domain() -> None:
    rows = interactions(
        [("a", "x"), ("a", "y"), ("a", "z"), ("b", "z"), ("b", "x")], order=[1, 5, 3, 0, 1], split=[0, 0, 2, 0, 2]
    )
    assert history(rows) == 1 / 2 and future(rows) is None
    assert history(replace(rows, order=None)) is None
