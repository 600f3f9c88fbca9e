from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.text.words import overviews, reviews
from recsys_lightning.errors import InputError

NAN = float("nan")
ITEMS = pd.DataFrame(
    {
        "item_id": ["m1", "m2", "m3"],
        "title": ["Heat (1995)", "m2", ""],
        "genres": [["Crime", "Drama"], [], np.array(["Comedy"], object)],
        "directors": [["Michael Mann"], [""], [None]],
        "reviews": [["good", " ", "bad ", "long"], [], ["x"]],
        "note": [" spaced ", None, NAN],
        "year": [1995.0, NAN, 2000.0],
        "blank": [NAN, NAN, NAN],
    }
)


def test_facts_make_a_text_where_no_overview_is() -> None:
    assert overviews(ITEMS, None) == ["Heat (1995). Crime, Drama. Michael Mann", "", "Comedy"]


def test_an_overview_is_enough() -> None:
    items = ITEMS.assign(overview=["Cops and robbers.", "", "Jokes"])
    assert overviews(items, None) == ["Cops and robbers.", "", "Jokes"]


def test_columns_come_in_the_order_asked_for() -> None:
    assert overviews(ITEMS, ["directors", "note", "genres"]) == ["Michael Mann. spaced. Crime, Drama", "", "Comedy"]
    assert overviews(ITEMS, ["blank", "note"]) == ["spaced", "", ""]


def test_an_id_is_no_title() -> None:
    assert overviews(ITEMS, ["title"]) == ["Heat (1995)", "", ""]


def test_the_first_reviews_are_kept() -> None:
    assert reviews(ITEMS, "reviews", 10) == [["good", "bad", "long"], [], ["x"]]
    assert reviews(ITEMS, "reviews", 2) == [["good", "bad"], [], ["x"]]
    assert reviews(ITEMS, "reviews", 0) == [[], [], []]
    assert reviews(ITEMS, "note", 9) == [["spaced"], [], []]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["genre"],
            "data.text.columns names genre, which is no column of the items; there are title, genres, dir.*note",
        ),
        (["genre"], r"Did you mean genres\?"),
        (["xyz"], "reviews, note.$"),
        (
            ["title", "year"],
            r"names year, which holds .*1995.* \(float.*\) for item m1; it must hold texts, or lists of",
        ),
    ],
)
def test_missing_columns_and_numbers_are_said(columns: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        overviews(ITEMS, columns)


def test_missing_reviews_are_said() -> None:
    with pytest.raises(InputError, match=r"data.text.reviews names review, which .* Did you mean reviews\?"):
        reviews(ITEMS, "review", 3)
    with pytest.raises(InputError, match=r"data.text.reviews names nested, which holds .*list.* for item m2"):
        reviews(ITEMS.assign(nested=[["a"], [["b"]], []]), "nested", 3)


def test_items_without_any_words_are_refused() -> None:
    with pytest.raises(InputError, match=r"neither an overview nor title, .* or cast .* there are none"):
        overviews(ITEMS[["item_id", "year"]], None)
