"""MovieLens: film ratings from movielens.org, by GroupLens (Harper and Konstan, https://doi.org/10.1145/2827872)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from recsys_lightning.data.reading.attributes import collect, empty, read_attributes
from recsys_lightning.data.reading.checks import require_file
from recsys_lightning.data.reading.tables import Columns, official, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.data.sources.movie_facts import join_facts, join_reviews, read_facts, year_of_title
from recsys_lightning.errors import InputError

Variant = Literal["100k", "1m", "1m-ordered", "latest-small"]
Fold = Literal["u1", "u2", "u3", "u4", "u5", "ua", "ub"]

_LICENCE = "GroupLens terms: research use, no redistribution, cite the paper, no commercial use without permission"
_USERS = {"age": "age", "gender": "gender", "occupation": "occupation", "zip": "zip_code"}
_METADATA = {"directors": "director", "writers": "writer", "keywords": "keyword"}
# fmt: off
_GENRES_100K = [
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]
# fmt: on
_CARDS: dict[str, Card] = {
    "100k": Card(
        title="MovieLens 100K (1998)",
        licence=_LICENCE,
        homepage="https://grouplens.org/datasets/movielens/100k/",
        url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        inside="ml-100k",
        files={
            "u.data": "user, item, rating 1-5, unix time; tabs",
            "u.item": "films with 19 genre flags; |, latin-1",
            "u.user": "age, gender, occupation, zip code; |",
        },
        notes=(
            "A fold reads its two files, e.g. u1.base and u1.test, in place of u.data.",
            "Some films stand in it twice, under two ids.",
        ),
    ),
    "1m": Card(
        title="MovieLens 1M (2003)",
        licence=_LICENCE,
        homepage="https://grouplens.org/datasets/movielens/1m/",
        url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        inside="ml-1m",
        files={
            "ratings.dat": "user::item::rating 1-5::unix time",
            "movies.dat": "item::Title (Year)::Genre|Genre, latin-1",
            "users.dat": "user::gender::age::occupation::zip code",
        },
    ),
    "1m-ordered": Card(
        title="MovieLens 1M, ratings with their order and without a clock",
        licence=_LICENCE,
        homepage="https://grouplens.org/datasets/movielens/1m/",
        files={
            "ratings_ordered.csv.gz": "user, item, rating 1-5, order",
            "movies.dat": "item, Title (Year), Genre|Genre; :: or tabs",
            "users.dat": "user, gender, age, occupation, zip code; :: or tabs",
        },
        notes=("The order is the position in the user's own time line: users cannot be compared in time.",),
    ),
    "latest-small": Card(
        title="MovieLens latest, small (changes over time)",
        licence=_LICENCE,
        homepage="https://grouplens.org/datasets/movielens/latest/",
        url="https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
        inside="ml-latest-small",
        files={
            "ratings.csv": "userId, movieId, rating 0.5-5, timestamp",
            "movies.csv": "movieId, title, genres",
        },
        notes=("GroupLens replaces this archive from time to time, so results on it cannot be compared for long.",),
    ),
}


class MovieLens(Source):
    """MovieLens.

    Args:
        root: the data root.
        variant: which release; `1m-ordered` is 1M with the order of each user's ratings in place of their time, and
            is read for `1m` too where only its file is there.
        fold: an official split of 100K: `u1` to `u5` are five disjoint test sets of a fifth each, `ua` and `ub` hold
            out ten ratings of each user.
        metadata: CSV file below the root with more facts of the films: movie_id and some of overview; directors,
            writers, keywords (lists with | between, or JSON lists); budget, revenue, popularity, vote_average,
            vote_count, runtime (0 for unknown); and release_date. Its genres are not read, as two vocabularies do not
            mix: those of the release stay.
        reviews: JSONL file below the root, plain or gzip, with movie_id and text of a review on each line.
    """

    name = "movielens"
    folder = "ml-100k"
    card = _CARDS["100k"]
    item_type = "movie"
    attributes = {"genres": "genre"}  # noqa: RUF012
    variants = {  # noqa: RUF012
        "ml-100k": {},
        "ml-1m": {"variant": "1m"},
        "ml-1m-ordered": {"variant": "1m-ordered"},
        "ml-latest-small": {"variant": "latest-small"},
    }

    def __init__(
        self,
        root: Path,
        variant: Variant = "100k",
        fold: Fold | None = None,
        metadata: str | None = None,
        reviews: str | None = None,
    ) -> None:
        super().__init__(root)
        if variant not in _CARDS:
            raise InputError(f"There is no MovieLens variant {variant!r}; known: {', '.join(_CARDS)}.")
        if fold is not None and (variant != "100k" or fold not in get_args(Fold)):
            raise InputError(f"Only 100k has official folds: {', '.join(get_args(Fold))}; not {fold!r} of {variant}.")
        if variant == "1m" and self._only_ordered():
            variant = "1m-ordered"
        self.variant, self.fold, self.metadata, self.reviews = variant, fold, metadata, reviews
        if metadata is not None:
            self.attributes = {**type(self).attributes, **_METADATA}
            self.on_request = ("keyword",)
        self.card = _CARDS[variant]
        self.name = f"ml-{variant}"
        self.folder = f"ml-{variant.removesuffix('-ordered')}"

    def _only_ordered(self) -> bool:
        official, ordered = (self.root / "ml-1m" / next(iter(_CARDS[name].files)) for name in ("1m", "1m-ordered"))
        return ordered.is_file() and not official.is_file()

    def files(self) -> list[Path]:
        """Ratings (of a fold: train, then test), films and, where there are any, users, metadata and reviews."""
        return [*self._release(), *self._more()]

    def _more(self) -> list[Path]:
        return [self.root / file for file in (self.metadata, self.reviews) if file is not None]

    def _release(self) -> list[Path]:
        ratings, *others = self.card.files
        parts = [ratings] if self.fold is None else [f"{self.fold}.base", f"{self.fold}.test"]
        return [self.path(name) for name in [*parts, *others]]

    def options(self) -> dict[str, object]:
        """Variant, fold, and files of metadata and reviews."""
        return {"variant": self.variant, "fold": self.fold, "metadata": self.metadata, "reviews": self.reviews}

    def read(self) -> Raw:
        """Read the release; `title` is `Title (Year)`, and `year` is taken from it where no release date is known."""
        for file in self._more():
            require_file(file)  # `check` speaks of the folder of the release
        self.check()
        match self.variant:
            case "100k":
                raw = self._100k()
            case "latest-small":
                raw = self._latest()
            case _:
                raw = self._1m()
        items = raw.items.assign(year=year_of_title(raw.items["title"]))
        if self.metadata is not None:
            file = self.root / self.metadata
            items = join_facts(items, read_facts(file, ["movie_id"], ["overview"], _METADATA), str(file))
        if self.reviews is not None:
            items = join_reviews(items, self.root / self.reviews)
        return replace(raw, items=items)

    def _100k(self) -> Raw:
        *ratings, films, people = self._release()
        names = ("user", "item", "rating", "timestamp")
        columns = Columns(*names)
        parts = [read_interactions(file, columns, separator="\t", names=names) for file in ratings]
        items = read_attributes(
            films,
            "item",
            rename={"title": "title", "released": "released"} | {genre: genre for genre in _GENRES_100K},
            separator="|",
            names=("item", "title", "released", "video", "url", "unknown", *_GENRES_100K),
            encoding="latin-1",
            quoting=False,
        )
        row, genre = np.nonzero(items[_GENRES_100K].to_numpy() == "1")
        genres = collect(pd.Series(row), pd.Series(np.array(_GENRES_100K)[genre]), items.index)
        items = items.drop(columns=_GENRES_100K).assign(genres=genres)
        users = read_attributes(
            people,
            "user",
            rename=_USERS,
            numbers=["age"],
            separator="|",
            names=("user", "age", "gender", "occupation", "zip"),
        )
        return Raw(parts[0] if self.fold is None else official(*parts), items, users)

    def _1m(self) -> Raw:
        ratings, films, people = self._release()
        names = ("user", "item", "rating", "timestamp")
        if self.variant == "1m":
            interactions = read_interactions(ratings, Columns(*names), separator="::", names=names)
            encoding = "latin-1"
        else:
            columns = Columns("user", "item", rating="rating", order="order")
            interactions, encoding = read_interactions(ratings, columns, separator=","), "utf-8"
        items = read_attributes(
            films,
            "item",
            names=("item", "title", "genres"),
            lists={"genres": "|"},
            separator=_separator(films),
            encoding=encoding,
            quoting=False,
        )
        users = read_attributes(
            people,
            "user",
            rename=_USERS,
            numbers=["age"],
            separator=_separator(people),
            names=("user", "gender", "age", "occupation", "zip"),
        )
        return Raw(interactions, items, users)

    def _latest(self) -> Raw:
        ratings, films = self._release()
        interactions = read_interactions(ratings, Columns("userId", "movieId", "rating", "timestamp"), separator=",")
        items = read_attributes(films, "movieId", separator=",", lists={"genres": "|"})
        known = items["genres"].map(lambda names: [name for name in names if name != "(no genres listed)"])
        return Raw(interactions, items.assign(genres=known), empty("userId"))


def _separator(file: Path) -> str:
    """`::` or a tab: the official archive has the first, conversions the second."""
    with file.open("rb") as stream:
        return "\t" if b"\t" in stream.readline() else "::"
