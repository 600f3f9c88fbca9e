"""goodbooks-10k: ratings of ten thousand popular books from goodreads.com."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.delimited import look
from recsys_lightning.data.reading.tables import Columns, positions, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source

_COUNTS = {"average_rating": "average_rating", "ratings_count": "rating_number"}
"""Read where the file has them."""


class Goodbooks(Source):
    """goodbooks-10k.

    Args:
        root: the data root.
        ratings: `ratings.csv` is the whole, `ratings_random.csv` the whole histories of some users; None takes the
            first of these that is there.
    """

    name = "goodbooks"
    folder = "goodbooks"
    card = Card(
        title="goodbooks-10k: goodreads ratings of 10,000 books",
        licence="CC BY-SA 4.0 (Zygmunt Zajac)",
        homepage="https://github.com/zygmuntz/goodbooks-10k",
        url="https://github.com/zygmuntz/goodbooks-10k/releases/download/v1.0/goodbooks-10k.zip",
        files={
            "ratings.csv": "user_id, book_id, rating 1-5",
            "books.csv": "titles, authors, year, language, mean and number of ratings",
            "book_genres.csv": "book_id, genres; optional, it is not in the official archive",
        },
        notes=(
            "ratings_random.csv, the whole histories of some users, may lie in place of ratings.csv.",
            "There is no clock: the order of the file is that of time, within a user.",
            "Mean and number of ratings in books.csv are later than the ratings: features of them tell of the future.",
            "Genres are shelf names, with many spellings of one thing.",
        ),
    )
    item_type = "book"
    later = ("average_rating", "rating_number")
    variants = {"goodbooks": {}}  # noqa: RUF012

    def __init__(self, root: Path, ratings: Literal["ratings.csv", "ratings_random.csv"] | None = None) -> None:
        super().__init__(root)
        sample = self.path("ratings_random.csv").is_file() and not self.path("ratings.csv").is_file()
        self.ratings = ratings or ("ratings_random.csv" if sample else "ratings.csv")
        others = {name: what for name, what in type(self).card.files.items() if name != "ratings.csv"}
        self.card = replace(type(self).card, files={self.ratings: "user_id, book_id, rating 1-5"} | others)
        self.attributes = {"authors": "author"}
        if self._genres.is_file():
            self.attributes |= {"genres": "genre"}

    @property
    def _genres(self) -> Path:
        return self.path("book_genres.csv")

    def files(self) -> list[Path]:
        """Ratings, books and, where the file is there, genres."""
        return [self.path(self.ratings), self.path("books.csv"), *([self._genres] if self._genres.is_file() else [])]

    def options(self) -> dict[str, object]:
        """The file of ratings."""
        return {"ratings": self.ratings}

    def read(self) -> Raw:
        """Read ratings and books; `order` is the position of a rating among those of its user."""
        self.check()
        ratings, books, *genres = self.files()
        interactions = read_interactions(ratings, Columns("user_id", "book_id", "rating"), separator=",")
        header = look(books, separator=",").header
        counts = {name: ours for name, ours in _COUNTS.items() if name in header}
        items = read_attributes(
            books,
            "book_id",
            rename={
                "title": "title",
                "authors": "authors",
                "original_publication_year": "year",
                "language_code": "language",
            }
            | counts,
            lists={"authors": ","},
            numbers=["year", *counts.values()],
            separator=",",
        )
        for file in genres:
            shelves = read_attributes(
                file, "book_id", rename={"genres": "genres"}, lists={"genres": ","}, separator=","
            )
            found = shelves["genres"].reindex(items.index)
            items["genres"] = found.map(lambda names: names if isinstance(names, list) else [])
        order = positions(interactions.user)
        return Raw(replace(interactions, order=order), items, empty("user_id"))
