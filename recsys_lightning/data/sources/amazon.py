"""Amazon reviews (McAuley lab, https://amazon-reviews-2023.github.io): ratings of one product category or several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.delimited import look
from recsys_lightning.data.reading.tables import Columns, join_domains, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError

Layout = Literal["2014", "2018", "2023", "inter", "joined"]

_HOMEPAGE = "https://amazon-reviews-2023.github.io"
_CARD = Card(
    title="Amazon reviews: ratings by category",
    licence="none stated; research use, cite McAuley lab's paper of the release",
    homepage=_HOMEPAGE,
)
_CARDS = {
    "amazon-books-2023": replace(
        _CARD,
        title="Amazon books 2023, an excerpt whose books have five ratings or more",
        files={"books_5core_1M.parquet": "user_id, parent_asin, rating 1-5, timestamp"},
        notes=("Items have at least five rows, users may have fewer: filter by user_core and item_core.",),
    ),
    "amazon-movie-book": replace(
        _CARD,
        title="Amazon films and books, users of both, implicit, ordered",
        files={"interactions.csv.gz": "user_id, item_id, domain, order", "movies.csv.gz": "item_id, title; films only"},
        notes=("There is no clock: the order is the position in the user's own time line.",),
    ),
    "amazon-movie-book-dense": replace(
        _CARD,
        title="Amazon films and books, dense, rated, without time",
        files={
            "Amazon-Books-Dense.inter": "user_id, item_id, rating 1-5; tabs",
            "Amazon-Movies-Dense.inter": "likewise",
        },
        notes=("Rows repeat, some with another rating.", "There is neither time nor order: split at random."),
    ),
}


@dataclass(frozen=True)
class _Reading:
    columns: Columns
    separator: str | None
    names: tuple[str, ...] | None


_READINGS: dict[str, _Reading] = {
    "2014": _Reading(Columns("user", "item", "rating", "timestamp"), ",", ("user", "item", "rating", "timestamp")),
    "2018": _Reading(Columns("user", "item", "rating", "timestamp"), ",", ("item", "user", "rating", "timestamp")),
    "2023": _Reading(Columns("user_id", "parent_asin", "rating", "timestamp"), ",", None),
    "inter": _Reading(Columns("user_id", "item_id", "rating"), "\t", None),
    "joined": _Reading(Columns(domain="domain", order="order"), ",", None),
}


class Amazon(Source):
    """Ratings of one Amazon category or of several, in which equal user ids are one user.

    Args:
        root: the data root.
        files: domain -> file of its ratings, or with layout `joined` any name -> the one file of all domains.
        folder: below the root.
        layout: `2014` (CSV user, item, rating, timestamp without a header), `2018` (the same with the item first),
            `2023` (CSV or Parquet user_id, parent_asin, rating, timestamp), `inter` (TSV user_id, item_id, rating and
            perhaps timestamp, RecBole's typed headers allowed) or `joined` (CSV user_id, item_id, domain, order).
        titles: CSV files of item_id and title.
    """

    name = "amazon"
    folder = "amazon"
    card = _CARD
    variants = {  # noqa: RUF012
        "amazon-books-2023": {
            "folder": "amazon-books-2023",
            "files": {"book": "books_5core_1M.parquet"},
            "layout": "2023",
        },
        "amazon-movie-book": {
            "folder": "amazon-movie-book",
            "files": {"all": "interactions.csv.gz"},
            "layout": "joined",
            "titles": ["movies.csv.gz"],
        },
        "amazon-movie-book-dense": {
            "folder": "amazon-movie-book-dense",
            "files": {"book": "Amazon-Books-Dense.inter", "movie": "Amazon-Movies-Dense.inter"},
            "layout": "inter",
        },
    }

    def __init__(
        self,
        root: Path,
        files: dict[str, str],
        folder: str = "amazon",
        layout: Layout = "2023",
        titles: list[str] | None = None,
    ) -> None:
        super().__init__(root)
        if layout not in get_args(Layout):
            raise InputError(f"There is no Amazon layout {layout!r}; known: {', '.join(get_args(Layout))}.")
        if not files or (layout == "joined" and len(files) > 1):
            raise InputError(f"{len(files)} files were named; layout {layout} needs one, all others one a domain.")
        self.name = self.folder = folder
        self.card = _CARDS.get(
            folder, replace(_CARD, files={file: f"ratings, layout of {layout}" for file in files.values()})
        )
        self.item_type = next(iter(files)) if len(files) == 1 and layout != "joined" else "item"
        self.ratings, self.layout, self.titles = dict(files), layout, list(titles or [])

    def files(self) -> list[Path]:
        """Ratings of each domain, then titles."""
        return [self.path(name) for name in [*self.ratings.values(), *self.titles]]

    def options(self) -> dict[str, object]:
        """Files by domain, their layout, and files of titles."""
        return {"files": self.ratings, "layout": self.layout, "titles": self.titles}

    def read(self) -> Raw:
        """Read all domains; titles where there are files of them."""
        self.check()
        parts = {domain: self._read(self.path(name)) for domain, name in self.ratings.items()}
        first = next(iter(parts.values()))
        tables = [
            read_attributes(self.path(name), "item_id", rename={"title": "title"}, separator=",")
            for name in self.titles
        ]
        items = pd.concat(tables) if tables else empty("item_id")
        items = items[~items.index.duplicated()]
        return Raw(first if len(parts) == 1 else join_domains(parts), items, empty("user_id"))

    def _read(self, file: Path) -> Interactions:
        reading = _READINGS[self.layout]
        columns = reading.columns
        if self.layout == "inter":
            # RecBole writes the type behind the name: user_id:token, rating:float
            typed = {name.split(":")[0]: name for name in look(file, separator="\t").header}
            columns = Columns(
                user_id=typed.get("user_id", "user_id"),
                item_id=typed.get("item_id", "item_id"),
                rating=typed.get("rating"),
                timestamp=typed.get("timestamp"),
            )
        return read_interactions(file, columns, separator=reading.separator, names=reading.names)
