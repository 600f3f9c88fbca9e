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
        ({"split": "item_cold", "test": 2.5}, "test: 2.5 is neither a share .* nor a whole number"),
        ({"split": "official", "test": 0.3}, "test: 0.3 was given, and an official split has its own test rows"),
        ({"val": 0.5, "test": 0.5}, "leave no share for train"),
        ({"limit_users": 0}, "limit_users: 0 keeps nothing"),
        ({"item_core": -1}, "item_core: -1 is negative"),
        ({"split": "user_cold", "shots": -1}, "shots: -1 is negative"),
        (
            {"split": "random", "shots": 2},
            "shots: 2 is of the splits item_cold, user_cold and target_cold, and the split is random",
        ),
        ({"reserve": 2}, "reserve: 2 is of the splits"),
        ({"split": "item_cold", "shots": 5, "reserve": 2}, "shots: 5 is more than reserve: 2 keeps apart. Say reserve"),
        ({"split": "user_cold", "shots": "all"}, "shots: all is of the split target_cold, and the split is user_cold"),
        ({"split": "target_cold"}, "asks in which domain users are to be new: say target"),
        ({"target": "book"}, "target: book is of the split target_cold, and the split is global_time. Leave target"),
        ({"split": "random", "later_rows": "keep"}, "later_rows: keep is of the splits .*, and random drops no later"),
        ({"split": "target_cold", "target": "book", "shots": -2}, "shots: -2 is negative"),
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
        (Recipe(split="item_cold", test=0.2), "item_cold, val 0.1, test 0.2"),
        (Recipe(split="item_cold", shots=1), "item_cold, val 0.1, test 0.1, 1 row of each held-out item in train"),
        (
            Recipe(split="user_cold", val=0, shots=5, reserve=10, positive=4),
            "user_cold, val 0, test 0.1, 5 of 10 reserved rows of each held-out user given, positives from 4",
        ),
        (
            Recipe(split="user_cold", reserve=1),
            "user_cold, val 0.1, test 0.1, 0 of 1 reserved row of each held-out user given",
        ),
        (
            Recipe(split="leave_last_out", later_rows="keep", only="book"),
            "leave_last_out, val 0.1, test 0.1, later rows kept, only book",
        ),
        (Recipe(split="target_cold", target="book"), "target_cold, val 0.1, test 0.1, new in book"),
        (
            Recipe(split="target_cold", target="book", shots=2, reserve=5),
            "target_cold, val 0.1, test 0.1, new in book, 2 of 5 reserved rows of each held-out user there in train",
        ),
        (
            Recipe(split="target_cold", target="book", shots="all"),
            "target_cold, val 0.1, test 0.1, new in book, all earlier rows of each user there in train",
        ),
        (
            Recipe(split="target_cold", target="book", shots="all", reserve=5),
            "target_cold, val 0.1, test 0.1, new in book, all (5 at least) earlier rows of each user there in train",
        ),
    ],
)
def test_the_split_has_a_name(recipe: Recipe, name: str) -> None:
    assert recipe.split_name == name


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Recipe(split="leave_last_out"), "leave_last_out, val 0.1, test 0.1 in each domain"),
        (Recipe(split="random", only="book"), "random, val 0.1, test 0.1 in each domain, only book"),
        (Recipe(), "global_time, val 0.1, test 0.1"),
    ],
)
def test_the_split_of_several_domains_says_so(recipe: Recipe, name: str) -> None:
    assert recipe.named(several=True) == name


@pytest.mark.parametrize(
    "recipe",
    [Recipe(min_rating=3, split="random", seed=4), Recipe(split="target_cold", target="b", shots="all", only="a")],
)
def test_plain_values_make_the_same_recipe(recipe: Recipe) -> None:
    assert Recipe(**recipe.to_dict()) == recipe


def test_unseen_items_are_kept_where_they_are_what_is_tested() -> None:
    assert Recipe(split="item_cold").keeps_unseen_items and Recipe(unseen_items="keep").keeps_unseen_items
    assert not Recipe().keeps_unseen_items and not Recipe(split="user_cold").keeps_unseen_items


@pytest.mark.parametrize(("shots", "reserve", "depth"), [(0, 0, 0), (3, 0, 3), (0, 5, 5), (5, 5, 5), (2, 5, 5)])
def test_so_many_rows_are_kept_from_the_test(shots: int, reserve: int, depth: int) -> None:
    assert Recipe(split="user_cold", shots=shots, reserve=reserve).depth == depth


def test_all_shots_may_be_none() -> None:
    recipe = Recipe(split="target_cold", target="book", shots="all", reserve=3)
    assert (recipe.num_shots, recipe.depth) == (0, 3)
