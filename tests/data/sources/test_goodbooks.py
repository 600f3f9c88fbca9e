"""goodbooks-10k, with and without genres."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.sources import Goodbooks

BOOKS = """book_id,authors,original_publication_year,title,language_code,isbn
1,"J.K. Rowling, Mary GrandPré",1997.0,"Stone (Potter, #1)",eng,439554934
2,Homer,-750.0,Iliad,,
"""


def test_file_order_is_the_order_of_each_user(tmp_path: Path) -> None:
    folder = tmp_path / "goodbooks"
    folder.mkdir()
    (folder / "books.csv").write_text(BOOKS)
    (folder / "ratings_random.csv").write_text("user_id,book_id,rating\n5,1,5\n6,1,4\n5,2,3\n")
    source = Goodbooks(tmp_path)
    assert (source.ratings, source.attributes) == ("ratings_random.csv", {"authors": "author"})
    raw = source.read()
    assert raw.interactions.order is not None and raw.interactions.order.tolist() == [0, 0, 1]
    assert raw.items["authors"].tolist() == [["J.K. Rowling", "Mary GrandPré"], ["Homer"]]
    assert raw.items["year"].tolist() == [1997, -750] and "average_rating" not in raw.items
    (folder / "book_genres.csv").write_text('book_id,goodreads_book_id,genres\n2,9,"classics,epic"\n')
    (folder / "ratings.csv").write_text("user_id,book_id,rating\n5,1,5\n")
    source = Goodbooks(tmp_path)
    assert source.ratings == "ratings.csv"
    assert source.attributes == {"authors": "author", "genres": "genre"}
    assert source.read().items["genres"].tolist() == [[], ["classics", "epic"]]


def test_counts_of_the_publisher_are_later_than_the_ratings(tmp_path: Path) -> None:
    (tmp_path / "goodbooks").mkdir()
    head, *books = BOOKS.splitlines()
    lines = [f"{head},average_rating,ratings_count", *(f"{book},4.34,4780653" for book in books)]
    (tmp_path / "goodbooks" / "books.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "goodbooks" / "ratings.csv").write_text("user_id,book_id,rating\n5,1,5\n5,2,4\n")
    source = Goodbooks(tmp_path)
    items = source.read().items
    assert items["average_rating"].tolist() == [4.34, 4.34] and items["rating_number"].tolist() == [4780653] * 2
    assert set(source.later) == {"average_rating", "rating_number"}
    assert prepare(source, Recipe(split="random", val=0, test=0)).later == source.later


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    raw = Goodbooks(real_data).read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items, len(raw.items)) == (298_176, 2_672, 9_990, 10_000)
