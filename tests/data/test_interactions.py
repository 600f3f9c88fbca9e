from __future__ import annotations

import numpy as np

from tests.data.memory import interactions


def test_rows_are_taken_and_ids_stay() -> None:
    rows = interactions([("a", "x"), ("b", "x"), ("b", "y")], rating=[1, 2, 3], timestamp=[30, 20, 10])
    some = rows.take(np.array([False, True, True]))
    assert (len(some), some.num_users, some.num_items) == (2, 2, 2)
    assert some.rating is not None and some.rating.tolist() == [2, 3]
    assert rows.take(np.array([2, 0])).item.tolist() == [1, 0]


def test_the_clock_comes_before_the_order() -> None:
    pairs = [("a", "x"), ("a", "y")]
    both = interactions(pairs, timestamp=[5, 6], order=[1, 0])
    only = interactions(pairs, order=[1, 0])
    assert both.time is both.timestamp and only.time is only.order
    assert interactions(pairs).time is None
