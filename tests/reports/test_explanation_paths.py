from __future__ import annotations

import math

import pytest

from recsys_lightning.explain.explanation import Effect
from recsys_lightning.reports.explanation import Path, paths
from tests.reports.pages import ITEMS, USER, attribute, effect, explanation

I = len(ITEMS)  # noqa: E741


def telling(count: float) -> float:
    return math.log(I / count) / math.log(I)


def test_a_path_goes_over_what_both_items_have_and_few_others() -> None:
    kinds = {"genre": attribute(a="Horror", b="Horror", r1="Horror"), "director": attribute(a="Scott", r1="Scott")}
    [first, second] = paths([explanation()], kinds, ITEMS)
    assert first == Path(USER, "a", ("director", "Scott"), "r1", pytest.approx(0.5 * telling(2)))
    assert second == Path(USER, "b", ("genre", "Horror"), "r1", pytest.approx(0.25 * telling(3)))


def test_the_effect_decides_between_equal_values() -> None:
    kinds = {"genre": attribute(a="x", b="x", d="x", r1="x")}
    assert not any(path.via for path in paths([explanation()], kinds, ITEMS))  # 4 of 7 items have it: no path
    one = explanation(effects=(effect("b", 0.25), effect("a", 0.5), effect("d", 0.3)))
    kinds = {"genre": attribute(a="x y", b="z", d="y", r1="y z")}
    assert [(path.own, path.via) for path in paths([one], kinds, ITEMS)] == [
        ("a", ("genre", "y")),
        ("b", ("genre", "z")),
    ]
    assert [path.own for path in paths([one], kinds, ITEMS, most=3)] == ["a", "b", "d"]


def test_without_anything_in_common_it_goes_over_other_users() -> None:
    direct = [Path(USER, "a", None, "r1", pytest.approx(0.5 * telling(I / 2)))]
    assert paths([explanation()], {"genre": attribute(a="x", r1="y")}, ITEMS) == direct
    assert paths([explanation()], {}, ITEMS) == direct


def test_effects_below_zero_and_edges_of_others_make_no_path() -> None:
    strange = Effect("has_genre", "r1", "a", "Alien", 9.0)
    one = explanation(effects=(effect("c", -0.5), strange))
    assert paths([one], {"genre": attribute(c="x", a="x", r1="x")}, ITEMS) == []


def test_an_own_item_makes_no_path_to_itself() -> None:
    kinds = {"genre": attribute(a="x", b="x")}
    [only] = paths([explanation("a", None)], kinds, ITEMS)
    assert (only.own, only.via) == ("b", ("genre", "x"))
    alone = explanation("a", None, effects=(effect("a", 0.5),))
    assert paths([alone], kinds, ITEMS) == []


def test_an_item_with_the_id_of_the_user_is_not_the_user() -> None:
    edge = Effect("has_genre", USER, "a", "Alien", 9.0)
    assert paths([explanation(USER, effects=(edge,))], {}, ITEMS) == []


def test_several_edges_to_one_item_add_up() -> None:
    one = explanation(effects=(effect("a", 0.5), effect("a", 0.25)))
    assert paths([one], {}, ITEMS) == [Path(USER, "a", None, "r1", pytest.approx(0.75 * telling(I / 2)))]


def test_every_explanation_has_its_own() -> None:
    found = paths([explanation("r2"), explanation("r1")], {"genre": attribute(a="x", r1="x")}, ITEMS)
    assert [(path.item, path.via) for path in found] == [("r2", None), ("r1", ("genre", "x"))]
    assert paths([], {"genre": attribute(a="x")}, ITEMS) == []


def test_items_beyond_the_catalogue_have_no_attributes() -> None:
    assert [path.via for path in paths([explanation("new")], {"genre": attribute(a="x")}, ITEMS)] == [None]
