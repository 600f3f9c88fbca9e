from __future__ import annotations

import pytest

from recsys_lightning.explain.explanation import Effect, Fidelity
from recsys_lightning.reports import explanation_words as words
from recsys_lightning.reports.explanation import HistoryItem, Path
from tests.reports.pages import EVIL, USER, effect, explanation, history


def test_summary_counts() -> None:
    assert words.summary(history(), [explanation()]) == (
        "4 items in the history, 1 recommendation, explained by `exact`."
    )
    told = explanation(meaning="Values are parts.")
    assert words.summary([], [told, told]).endswith("2 recommendations, explained by `exact`. Values are parts.")
    assert words.summary([], []) == "0 items in the history, 0 recommendations."


@pytest.mark.parametrize(
    ("items", "told"), [(30, ""), (31, "1 older item is not shown."), (1050, "1,020 older items are not shown.")]
)
def test_left_out(items: int, told: str) -> None:
    assert words.left_out([HistoryItem("a", "A")] * items) == told


def test_terms_add_up_in_words() -> None:
    assert words.sum_of_terms(explanation()) == "Score 1.5000 = base 1.2000 + genre 0.4000 - director 0.1000."


def test_strongest_effects_of_either_sign() -> None:
    effects = tuple(effect("a", value) for value in (0.1, -0.9, 0.3, 0.2, 0.4, -0.5))
    assert [found.value for found in words.strongest(explanation(effects=effects))] == [-0.9, -0.5, 0.4, 0.3, 0.2]


def test_shown_effects_hidden_ones_and_the_rest_make_the_score() -> None:
    effects = tuple(effect("a", value) for value in (0.5, 0.4, 0.3, 0.2, 0.1, 0.05, -0.03))
    one = explanation(effects=effects, rest=0.25)
    assert words.remainder(one) == "These add up to 1.5000; 2 weaker edges 0.0200, all else 0.2500."
    assert words.remainder(explanation()) == "These add up to 0.6250; all else 0.8750."
    assert words.remainder(explanation(rest=None)) == ""


def test_own_items_go_by_their_title_and_other_edges_say_what_they_are() -> None:
    assert words.effect_name(effect("a", 1.0)) == "Alien"
    other = Effect("has_genre", USER, "Horror", "Horror", 1.0)  # an item with the id of the user
    assert words.effect_name(other) == "Horror (has genre)"


def test_fidelity() -> None:
    assert words.fidelity_words(explanation()) == (
        "Tried: without its 5 strongest edges the score goes from 1.5000 to 0.5000, rank 1 becomes 37. "
        "Without as many random ones of the user's edges it is 1.2500, in the median rank 2.5."
    )
    same = words.fidelity_words(explanation(fidelity=Fidelity(1, 1.5, 1, 1.5, 1.0)))
    assert "its 1 strongest edge the" in same and "still rank 1." in same
    assert words.fidelity_words(explanation(fidelity=None)) == ""
    both = explanation(effects=(effect("a", 0.5), Effect("has_genre", "r1", "Horror", "Horror", 1.0)))
    assert "random ones of the edges of the user and of the item's attributes it is" in words.fidelity_words(both)


def test_fidelity_of_an_item_that_the_user_has() -> None:
    for found in (None, Fidelity(5, 0.5, 37, 1.25, 2.5)):
        assert words.fidelity_words(explanation(rank=None, fidelity=found)) == (
            "The user has it, so it is not ranked and nothing is measured by taking edges away."
        )


def test_fidelity_where_nothing_is_left_to_draw() -> None:
    assert words.fidelity_words(explanation(fidelity=Fidelity(3, 0.5, 37, None, None))) == (
        "Tried: without its 3 strongest edges the score goes from 1.5000 to 0.5000, rank 1 becomes 37. "
        "These were all of the user's edges, so as many random ones would be the same."
    )


def test_paths_are_told_for_what_they_are() -> None:
    assert "share a value" in words.PATHS and "effect on the score times how rare" in words.PATHS


def test_what_lies_between() -> None:
    assert words.path_words(Path(USER, "a", ("director", EVIL), "r1", 1.0)) == f"director {EVIL}"
    assert words.path_words(Path(USER, "a", None, "r1", 1.0)) == "other users"


def test_attention_is_in_shares() -> None:
    assert words.attention_words(explanation()) == ["Alien 75%", f"{EVIL} 25%"]
