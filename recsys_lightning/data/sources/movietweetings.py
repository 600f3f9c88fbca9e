"""MovieTweetings: film ratings found in tweets, with films described by Wikidata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.tables import Columns, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError

_HOMEPAGE = "https://github.com/sidooms/MovieTweetings"
_JOINED = Card(
    title="MovieTweetings 100K, 5-core, joined to Wikidata films",
    licence="ratings: MIT (Simon Dooms); film facts: CC0 1.0 (Wikidata)",
    homepage=_HOMEPAGE,
    files={
        "ratings.csv.gz": "user, imdb, rating 0-10, timestamp; ascending in time",
        "movies.csv.gz": "one film a row, lists separated by a comma and a space",
    },
    notes=(
        "This is the sample that lies in the project itself; data/make_sample.py makes it.",
        "IMDb numbers are written without leading zeros, unlike in the raw files.",
        "Ratings were found from 2013-02 to 2013-09.",
        "Where Wikidata has two films for one IMDb number, the first one is used.",
        "Box office and critics' scores (meter, metacritic) are later than many of the ratings.",
    ),
)
_RAW = Card(
    title="MovieTweetings 100K snapshot, as published",
    licence="MIT (Simon Dooms)",
    homepage=_HOMEPAGE,
    url="https://github.com/sidooms/MovieTweetings/archive/refs/heads/master.zip",
    inside="MovieTweetings-master/snapshots/100K",
    files={
        "ratings.dat": "user::imdb::rating 0-10::unix time",
        "movies.dat": "imdb::Title (Year)::Genre|Genre, UTF-8",
    },
    notes=("IMDb numbers have seven digits with leading zeros.",),
)
_LISTS = {"genres", "directors", "writers", "cast", "countries", "languages"}


class MovieTweetings(Source):
    """MovieTweetings.

    Args:
        root: the data root.
        variant: `joined` is the sample of 66,519 ratings with directors and writers; `raw` the 100,000 ratings as
            published, with titles and genres only.
        domains: genres of each domain, where the films are to be of several. A film is of the domain that names most of
            its genres, of the first of those that name equally many, and of the last where none names any.
    """

    name = "movietweetings"
    folder = "movietweetings"
    card = _JOINED
    item_type = "movie"
    variants = {"movietweetings": {}, "movietweetings-raw": {"variant": "raw"}}  # noqa: RUF012

    def __init__(
        self,
        root: Path,
        variant: Literal["joined", "raw"] = "joined",
        domains: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(root)
        if domains is not None and len(domains) < 2:
            raise InputError(f"domains names {len(domains)} of them. Name two or more, or leave domains out.")
        if domains is not None and len(domains) > 127:
            raise InputError(f"domains names {len(domains)} of them; at most 127 are supported.")
        self.variant, self.domains = variant, domains
        self.attributes = {"genres": "genre"}
        if variant == "raw":
            self.name, self.card = "movietweetings-raw", _RAW
        else:
            self.attributes |= {"directors": "director", "writers": "writer", "cast": "actor", "countries": "country"}
            self.on_request = ("actor", "country")
            self.later = ("box_office", "meter", "metacritic")

    def files(self) -> list[Path]:
        """Ratings and films."""
        return [self.path(name) for name in self.card.files]

    def options(self) -> dict[str, object]:
        """The variant, and the genres of each domain."""
        return {"variant": self.variant, "domains": None if self.domains is None else list(self.domains.items())}

    def read(self) -> Raw:
        """Read either variant; `title` is `Title (Year)` in both."""
        self.check()
        raw = self._raw() if self.variant == "raw" else self._joined()
        if self.domains is None:
            return raw
        films = raw.items["genres"].reindex(raw.interactions.item_ids.to_pylist())
        genres = [value if isinstance(value, list) else [] for value in films]
        domain = domain_of(genres, self.domains)
        return replace(raw, interactions=replace(raw.interactions, domain=domain, domains=tuple(self.domains)))

    def _joined(self) -> Raw:
        ratings, films = self.files()
        interactions = read_interactions(ratings, Columns("user", "imdb", "rating", "timestamp"))
        items = read_attributes(
            films,
            "imdb",
            rename={
                "Title": "title",
                "Genre": "genres",
                "Director": "directors",
                "Writer": "writers",
                "Cast": "cast",
                "Country": "countries",
                "Language": "languages",
                "Year": "year",
                "Runtime": "runtime",
                "Released": "released",
                "BoxOffice": "box_office",
                "Meter": "meter",
                "Metacritic": "metacritic",
            },
            lists=dict.fromkeys(_LISTS, ", "),
            numbers=["year", "runtime", "box_office", "meter", "metacritic"],
            separator=",",
        )
        items["title"] += " (" + items["year"].astype(int).astype(str) + ")"
        return Raw(interactions, items, empty("user"))

    def _raw(self) -> Raw:
        ratings, films = self.files()
        interactions = read_interactions(
            ratings,
            Columns("user", "imdb", "rating", "timestamp"),
            separator="::",
            names=("user", "imdb", "rating", "timestamp"),
        )
        items = read_attributes(films, "imdb", separator="::", names=("imdb", "title", "genres"), lists={"genres": "|"})
        items["year"] = items["title"].str.extract(r"\((\d{4})\)\s*$", expand=False).astype("float64")
        return Raw(interactions, items, empty("user"))


def domain_of(genres: Sequence[Sequence[str]], domains: Mapping[str, Sequence[str]]) -> NDArray[np.int8]:
    """(I,) the domain of each film, a position in `domains`.

    Args:
        genres: of each film.
        domains: genres of each.

    Raises:
        InputError: a domain names a genre that no film has.
    """
    known = {genre for own in genres for genre in own}
    for name, chosen in domains.items():
        if unknown := sorted(set(chosen) - known):
            raise InputError(
                f"The domain {name} names the genre {', '.join(map(repr, unknown))}, which no film has. "
                f"Genres are {', '.join(sorted(known))}."
            )
    chosen_by = [set(chosen) for chosen in domains.values()]
    common = np.array([[len(chosen.intersection(own)) for chosen in chosen_by] for own in genres])
    common = common.reshape(len(genres), len(chosen_by))
    common[common.sum(1) == 0, -1] = 1
    found: NDArray[np.int8] = common.argmax(1).astype(np.int8)
    return found
