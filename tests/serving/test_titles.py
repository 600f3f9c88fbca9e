from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.serving.titles import Titles, plain

TITLES = [
    "The Lord of the Rings: The Two Towers",
    "Le fabuleux destin d'Amélie Poulain",
    "It Happened One Night",
    "It",
    "Lord of War",
    "Split",
    "",
    "Ring",
]


def found(query: str, limit: int = 10) -> list[str]:
    titles = Titles(TITLES)
    return [TITLES[item] for item in titles.find(query, limit)]


def test_beginnings_come_first_then_beginnings_of_words_then_the_rest() -> None:
    assert found("it") == ["It", "It Happened One Night", "Split"]
    assert found("it", 1) == ["It"]
    assert found("ring") == ["Ring", TITLES[0]]


def test_words_in_any_order_case_and_accents() -> None:
    assert found("RINGS  lord") == [TITLES[0]]
    assert found("amelie") == found("AMÉLIE") == [TITLES[1]]
    assert found("lord nothing") == found("zzz") == found("   ") == found("") == []


@given(st.lists(st.text(max_size=12), min_size=1, max_size=30), st.text(max_size=6))
def test_every_title_with_the_words_is_found(titles: list[str], query: str) -> None:
    words = plain(query).split()
    expected = {place for place, title in enumerate(titles) if words and all(w in plain(title) for w in words)}
    assert set(Titles(titles).find(query, 100)) == expected


def test_many_titles_with_a_common_word_are_not_all_looked_at() -> None:
    titles = Titles([f"the thing {number}" for number in range(5000)] + ["thing"])
    assert titles.find("thing", 3)[0] == 5000
    assert len(titles.find("thing", 100)) == 100
