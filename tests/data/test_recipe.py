from __future__ import annotations

from typing import Any

import pytest

from recsys_lightning.data.recipe import Recipe
from recsys_lightning.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": -0.1}, "val: -0.1 is neither a share"),
        ({"test": 1.5}, "test: 1.5 is neither a share"),
        ({"split": "cold_items", "test": 2.5}, "test: 2.5 is neither a share .* nor a whole number"),
        ({"val": 0.5, "test": 0.5}, "leave no share for train"),
        ({"limit_users": 0}, "limit_users: 0 keeps nothing"),
        ({"item_core": -1}, "item_core: -1 is negative"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**options)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Recipe(), "global_time, val 0.1, test 0.1"),
        (Recipe(split="leave_last_out", val=1, test=2), "leave_last_out, val 1, test 2"),
        (Recipe(split="official", val=0), "official, val 0"),
        (Recipe(split="cold_items", test=0.2), "cold_items, val 0.1, test 0.2"),
    ],
)
def test_the_split_has_a_name(recipe: Recipe, name: str) -> None:
    assert recipe.split_name == name


def test_plain_values_make_the_same_recipe() -> None:
    recipe = Recipe(min_rating=3, split="random", seed=4)
    assert Recipe(**recipe.to_dict()) == recipe


def test_unseen_items_are_kept_where_they_are_what_is_tested() -> None:
    assert Recipe(split="cold_items").keeps_unseen_items and Recipe(unseen_items="keep").keeps_unseen_items
    assert not Recipe().keeps_unseen_items
