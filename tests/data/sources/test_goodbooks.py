"""goodbooks-10k, with and without genres."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert raw.items["year"].tolist() == [1997, -750]
    (folder / "book_genres.csv").write_text('book_id,goodreads_book_id,genres\n2,9,"classics,epic"\n')
    (folder / "ratings.csv").write_text("user_id,book_id,rating\n5,1,5\n")
    source = Goodbooks(tmp_path)
    assert source.ratings == "ratings.csv"
    assert source.attributes == {"authors": "author", "genres": "genre"}
    assert source.read().items["genres"].tolist() == [[], ["classics", "epic"]]


@pytest.mark.slow
def test_published_counts(real_data: Path) -> None:
    raw = Goodbooks(real_data).read()
    found = raw.interactions
    assert (len(found), found.num_users, found.num_items, len(raw.items)) == (298_176, 2_672, 9_990, 10_000)
