"""Which values of a column have codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.item_features.categories import Coded, code_column
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.errors import InputError

ITEMS = pd.DataFrame(
    {
        "item_id": list("abcde"),
        "genres": [["b", "a"], ["b", "c ", "c"], ["a", "c", "d"], [], ["new", "b"]],
        "language": ["eng", "eng", "", "fre", "ara"],
        "same": [["x"], ["x"], ["x"], ["x"], ["y"]],
        "late": ["", "", "", "", "z"],
        "year": [1, 2, 3, 4, 5],
    }
)
KNOWN = np.array([True, True, True, True, False])


def rows(coded: Coded) -> list[list[int]]:
    return [part.tolist() for part in np.split(coded.col, coded.crow[1:-1])]


def code(name: str, **options: Any) -> Coded:
    return code_column(ITEMS, name, KNOWN, FeatureRecipe(**options))


def test_the_most_frequent_values_of_train_by_items_and_name() -> None:
    found = code("genres")
    assert found.names == ("a", "b", "c") and found.distinct == 4  # two films of train each; the last is none of train
    assert rows(found) == [[0, 1], [1, 2], [0, 2], [], [1]]
    assert code("genres", top=2).names == ("a", "b")
    assert code("genres", min_items=1).names == ("a", "b", "c", "d")
    assert rows(code("language", min_items=1)) == [[0], [0], [], [1], []]


def test_the_others_share_hashed_codes() -> None:
    found = code("genres", top=1, hashed=2)
    assert found.names == ("a", "#0", "#1")
    shared = rows(found)
    assert all(part == sorted(set(part)) and max(part, default=0) <= 2 for part in shared)
    assert shared[3] == [] and len(shared[4]) >= 1  # a value that train lacks has a code, too
    assert [0 in part for part in shared] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("genre", r"names genre, which is no column of texts .* there are genres, language, .* Did you mean genres\?"),
        ("year", r"names year, .*It holds numbers: name it in data\.features\.numbers"),
        ("item_id", "names item_id, which is no column of texts"),
        ("late", "names late, of which no item of train has one"),
        ("same", "names same, whose codes are the same for every item of train: it tells nothing"),
    ],
)
def test_what_tells_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        code(name)


def test_values_that_are_too_rare_are_refused_unless_hashed() -> None:
    with pytest.raises(InputError, match="of whose 4 values in train none has 3 items"):
        code("genres", min_items=3)
    assert code("genres", min_items=3, hashed=4).names == ("#0", "#1", "#2", "#3")
