"""Books and their readers, as goodreads, Amazon and spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.item_features.fit import fit_features
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.sources import BookColumns, Books, Goodbooks
from recsys_lightning.errors import InputError

BOOKS = """parent_asin,title,author,categories,average_rating,price,rating_number
0001,"Iliad","{'avatar': 'h.jpg', 'name': 'Homer', 'about': []}","['Books', 'Poetry']",4.5,$12.99,"1,234"
B00X,"Up, Again: A Tale","[""A. B."", ""C. D.""]","[""Books"", ""Fiction""]",4.0,from 4.99,7
0002,,A. B.;C. D.,"['Books', 'Fiction'",n/a,—,None
0003,Free,,,3.0,gratis,"12,5"
"""
USERS = """reviewer,parent_asin,rating,timestamp
u1,0001,5.0,1365029107000
u1,B00X,4.0,1365029108000
u2,0001,1.0,1365029109000
u2,GONE,2.0,1365029110000
"""
COLUMNS = BookColumns(id="parent_asin", authors="author")
LOG = Columns("reviewer", "parent_asin", rating="rating", timestamp="timestamp")
GOODBOOKS = BookColumns(id="book_id", categories=None, price=None, rating_number="ratings_count")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "books.csv").write_text(BOOKS, encoding="utf-8")
    (folder / "users.csv").write_text(USERS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def source(root: Path) -> Books:
    return Books(root, book_columns=COLUMNS, columns=LOG, author_separator=";")


def test_a_pair_as_of_amazon(source: Books) -> None:
    with pytest.warns(UserWarning) as told:
        raw = source.read()
    assert sorted(str(warning.message).partition(": ")[2] for warning in told) == [
        "the column 'categories' holds 1 values that are no lists and count as unknown: "
        "\"['Books', 'Fiction'\" of 0002.",
        "the column 'price' holds 1 values that are no numbers and count as unknown: 'gratis' of 0003.",
    ]
    items = raw.items
    assert items.index.tolist() == ["0001", "B00X", "0002", "0003"]
    assert items["authors"].tolist() == [["Homer"], ["A. B.", "C. D."], ["A. B.", "C. D."], []]
    assert items["categories"].tolist() == [["Books", "Poetry"], ["Books", "Fiction"], [], []]
    nan = np.nan
    np.testing.assert_array_equal(items["price"], [12.99, 4.99, nan, nan])
    np.testing.assert_array_equal(items["average_rating"], [4.5, 4, nan, 3])
    np.testing.assert_array_equal(items["rating_number"], [1234, 7, nan, 12.5])
    assert raw.interactions.timestamp is not None and raw.interactions.timestamp[0] == 1365029107
    assert source.attributes == {"authors": "author", "categories": "genre"} and source.item_type == "book"


@pytest.mark.filterwarnings("ignore:.*count as unknown")
def test_rows_of_unknown_books_are_dropped_with_a_count(source: Books) -> None:
    prepared = prepare(source, Recipe(orphans="drop", split="random", val=0, test=0))
    assert prepared.items["item_id"].tolist() == ["0001", "B00X"]
    [orphans] = [step for step in prepared.steps if step.name == "orphans"]
    assert orphans.rows == 3 and orphans.note.startswith("1 rows of 1 items")


@pytest.mark.filterwarnings("ignore:.*count as unknown")
def test_what_was_counted_later_is_marked(source: Books) -> None:
    prepared = prepare(source, Recipe(split="random", val=0, test=0))
    assert prepared.later == source.later == ("average_rating", "price", "rating_number")
    with pytest.warns(UserWarning, match="names price, average_rating, which were gathered after"):
        fit_features(prepared, FeatureRecipe(["price"], ["average_rating"]))


def test_parquet_with_lists_and_objects(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    books = pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["A", None],
            "authors": [{"name": "Homer", "about": ["x"]}, None],
            "categories": [["Books", "Poetry"], []],
            "price": ["12,99", None],
        }
    )
    books.to_parquet(tmp_path / "mine" / "books.parquet")
    pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]}).to_parquet(tmp_path / "mine" / "users.parquet")
    columns = BookColumns(average_rating=None, rating_number=None)
    source = Books(tmp_path, "books.parquet", "users.parquet", "mine", None, columns, Columns())
    raw = source.read()
    assert raw.items["authors"].tolist() == [["Homer"], []] and raw.items["title"].tolist() == ["A", ""]
    assert raw.items["categories"].tolist() == [["Books", "Poetry"], []]
    assert raw.items["price"].fillna(0).tolist() == [12.99, 0]
    assert (source.name, source.later, raw.interactions.rating) == ("mine", ("price",), None)


def test_the_order_of_the_file_is_that_of_time_where_it_is_said(root: Path) -> None:
    columns = Columns("reviewer", "parent_asin", rating="rating")
    with pytest.warns(UserWarning, match="count as unknown"):
        found = Books(root, book_columns=COLUMNS, columns=columns, file_order=True).read().interactions
    assert found.timestamp is None and found.order is not None and found.order.tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"data\.columns names a clock: timestamp\. Leave one of them out"):
        Books(root, columns=LOG, file_order=True)


def test_columns_that_are_not_there_are_named_with_the_option(root: Path) -> None:
    with pytest.raises(InputError, match=r"books\.csv has no column 'item_id', 'authors'\..*data\.book_columns says"):
        Books(root, columns=LOG).read()
    with pytest.raises(InputError, match=r"users\.csv has no column 'user_id', 'item_id'\..*data\.columns says"):
        Books(root, book_columns=COLUMNS).read()


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [({"authors": "x", "categories": "x"}, "authors", "categories"), ({"title": "price"}, "title", "price")],
)
def test_a_column_is_one_thing(columns: dict[str, str], first: str, second: str) -> None:
    column = columns[first]
    both = rf"data\.book_columns\.{first} and data\.book_columns\.{second} both name the column '{column}'"
    with pytest.raises(InputError, match=both):
        BookColumns(**columns)
    assert BookColumns(id="title").rename["title"] == "title"  # ids are the index: no column is lost


def test_files_that_are_not_there_or_damaged(root: Path) -> None:
    with pytest.raises(InputError, match=r"log\.csv is missing in .*It holds: books\.csv, users\.csv"):
        Books(root, users="log.csv").read()
    (root / "books" / "books.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="is not a Parquet file, or is cut off or damaged"):
        Books(root, books="books.parquet").read()


def test_options_decide_the_cache(root: Path) -> None:
    others = [
        Books(root),
        Books(root, book_columns=COLUMNS),
        Books(root, columns=LOG),
        Books(root, columns=Columns(), file_order=True),
        Books(root, author_separator="|"),
        Books(root, on_bad="drop"),
    ]
    assert len({str(source.options()) for source in others}) == len(others)


@pytest.mark.slow
def test_goodbooks_is_such_a_pair(real_data: Path) -> None:
    columns = Columns("user_id", "book_id", "rating")
    source = Books(real_data, "books.csv", "ratings_random.csv", "goodbooks", None, GOODBOOKS, columns, file_order=True)
    recipe = Recipe(orphans="drop", user_core=5, item_core=10, split="leave_last_out", val=1, test=1)
    prepared, other = prepare(source, recipe), prepare(Goodbooks(real_data), recipe)
    assert prepared.fingerprint == other.fingerprint
    for name in ("title", "average_rating", "rating_number"):
        pd.testing.assert_series_equal(prepared.items[name], other.items[name])
