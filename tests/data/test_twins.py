from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.twins import same_audience, same_title


def audience(*sets: set[int]) -> Interactions:
    """Item j has the users of the j-th set."""
    pairs = [(user, item) for item, users in enumerate(sets) for user in sorted(users)]
    user, item = np.array(pairs, np.int32).T
    return Interactions(
        user, item, pa.array(map(str, range(int(user.max()) + 1))), pa.array(map(str, range(len(sets))))
    )


def test_titles_are_compared_without_case_and_spaces_and_ids_are_no_titles() -> None:
    titles = ["Heat", "heat ", "Alien", "4", "HEAT", ""]
    items = pd.DataFrame({"item_id": list("012345"), "title": titles}).assign(item_id=["0", "1", "2", "4", "5", "6"])
    assert sorted(map(sorted, same_title(items).tolist())) == [[0, 1], [1, 4]]


@pytest.mark.parametrize(("shared", "found"), [(100, True), (96, True), (80, False), (0, False)])
def test_audiences_are_compared_by_jaccard(shared: int, found: bool) -> None:
    rows = audience(set(range(100)), set(range(100 - shared, 200 - shared)), set(range(300, 400)))
    assert same_audience(rows).tolist() == ([[0, 1]] if found else [])


def test_small_audiences_coincide_by_chance_and_are_passed_over() -> None:
    rows = audience(set(range(10)), set(range(10)), set(range(30)))
    assert same_audience(rows).tolist() == []
    assert same_audience(rows, least_users=5).tolist() == [[0, 1]]
