from __future__ import annotations

import pytest

from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "data.features.top is 0, min_items 2, hashed 0"),
        ({"hashed": -1}, "hashed -1"),
        ({"shuffle": -1}, "data.features.shuffle is -1; a seed must be 0 or more"),
        ({"numbers": ["year"], "logs": ["year"]}, "names year more than once in numbers and logs"),
        ({"categories": ["genres", "genres"]}, "names genres more than once in categories"),
        ({"title": False}, "asks for nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureRecipe(**options)  # type: ignore[arg-type]


def test_columns_are_all_that_are_named() -> None:
    assert FeatureRecipe(["a"], ["b"], categories=["c"]).columns == ["a", "b", "c"]
