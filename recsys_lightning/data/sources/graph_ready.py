"""Prepared files of films as graphs, buckets and an official split, in the layout that hybrid recommenders use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.checks import require_columns, require_id_column
from recsys_lightning.data.reading.delimited import look
from recsys_lightning.data.reading.tables import Columns, official, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.data.sources.movie_facts import read_facts, year_of_title
from recsys_lightning.errors import InputError

_IDS = ("ml_movie_id", "movie_id")
_TEXTS = ("title", "tmdb_id", "imdb_id", "overview")
_NODES = {"genres": "genre", "keywords": "keyword", "directors": "director", "writers": "writer"}
_FILMS = "movies_graph_ready.csv"
_CONTEXT, _METADATA = "context_data/movie_context.csv", "context_data/context_metadata.json"
_SHAPES = '{"column": 11} or {"column": {"num_buckets": 11, "unknown": 0}}, either of them also under "features"'


class GraphReady(Source):
    """Films whose attributes are lists of node ids and whose numbers are codes of buckets already.

    Args:
        root: the data root.
        folder: below the root.
        fold: name of the two files of the split, `<fold>.base` and `<fold>.test`.
    """

    name = "graph-ready"
    folder = "graph_ready"
    card = Card(
        title="Prepared files of your own: films, nodes, context buckets, a split",
        licence="that of what they were made of",
        homepage="the section on prepared files in data/README.md",
        files={
            _FILMS: "ml_movie_id, title, overview, and node ids as JSON lists",
            "u1.base": "train: user, item, rating, unix time; tabs",
            "u1.test": "test, likewise",
            **{f"nodes/{name}.csv": "id, name; optional" for name in _NODES},
            _CONTEXT: "ml_movie_id and a code of a bucket in each column; optional",
            _METADATA: "how many buckets each column has; optional",
        },
    )
    item_type = "movie"
    attributes = _NODES
    variants = {"graph-ready": {}}  # noqa: RUF012

    def __init__(self, root: Path, folder: str = "graph_ready", fold: str = "u1") -> None:
        super().__init__(root)
        self.folder, self.fold = folder, fold
        named = {name.replace("u1.", f"{fold}."): what for name, what in type(self).card.files.items()}
        self.card = Card(self.card.title, self.card.licence, self.card.homepage, files=named)

    def files(self) -> list[Path]:
        """Films, train, test, then those of the optional files that are there."""
        needed, optional = list(self.card.files)[:3], list(self.card.files)[3:]
        return [*map(self.path, needed), *(self.path(name) for name in optional if self.path(name).is_file())]

    def options(self) -> dict[str, object]:
        """Folder and fold."""
        return {"folder": self.folder, "fold": self.fold}

    def read(self) -> Raw:
        """Read all parts that are there; context columns are those of the films, as numbers."""
        self.check()
        films, *parts = self.files()[:3]
        items = read_facts(films, _IDS, _TEXTS, _NODES)
        if "title" in items:
            year = year_of_title(items["title"])
            items["year"] = items["year"].fillna(year) if "year" in items else year
        for name in _NODES:
            file = self.path(f"nodes/{name}.csv")
            if name in items and file.is_file():
                items[name] = _named(items[name], file, films)
        names = ("user", "item", "rating", "timestamp")
        train, test = (read_interactions(file, Columns(*names), separator="\t", names=names) for file in parts)
        return Raw(official(train, test), self._with_context(items), empty("user"))

    def _with_context(self, items: pd.DataFrame) -> pd.DataFrame:
        """The films with the codes of their buckets; a name that the films have already gets `_bucket` behind it."""
        table, metadata = self.path(_CONTEXT), self.path(_METADATA)
        there = [file.is_file() for file in (table, metadata)]
        if not any(there):
            return items
        if not all(there):
            here, missing = (table, metadata) if there[0] else (metadata, table)
            raise InputError(f"{here} is there and {missing} is not: the one is read with the other. Add it.")
        found = _context(table, metadata).reindex(items.index)
        return items.join(found.rename(columns=lambda name: f"{name}_bucket" if name in items else name))


def _named(lists: pd.Series, file: Path, films: Path) -> pd.Series:
    """Node ids as the names of the nodes; a name that several nodes have gets the id behind it."""
    name = read_attributes(file, "id", rename={"name": "name"}, separator=",")["name"].str.strip()
    own = name.index.to_series()
    name = name.where(name != "", own)
    name = name.where(~name.duplicated(keep=False), name + " (" + own + ")")
    used = lists.explode().dropna()
    unknown = used[~used.isin(name.index)].unique()
    if len(unknown):
        raise InputError(
            f"{films}: the column {lists.name!r} names {len(unknown):,} nodes that {file} does not have, the first of "
            f"them {unknown[0]!r}. Add them to that file."
        )
    names = name.to_dict()
    return lists.map(lambda ids: [names[node] for node in ids])


def _context(table: Path, metadata: Path) -> pd.DataFrame:
    """Codes of buckets as numbers, indexed by the raw id of the film; NaN where unknown."""
    sizes = _sizes(metadata)
    header = look(table, separator=",").header
    require_columns(f"{table}, whose columns {metadata.name} names,", list(sizes), header)
    id_name = require_id_column(table, _IDS, header)
    found = read_attributes(table, id_name, rename={name: name for name in sizes}, numbers=list(sizes), separator=",")
    for name, (size, unknown) in sizes.items():
        codes = found[name]
        bad = codes[codes.notna() & ~(codes.isin(range(size)) | (codes == unknown))]
        if len(bad):
            raise InputError(
                f"{table}: the column {name!r} holds {len(bad):,} codes that are none of its {size} buckets, the first "
                f"of them {bad.iloc[0]:g} of film {bad.index[0]}. {metadata.name} says 0 to {size - 1}: mend either."
            )
        found[name] = codes.where(codes != unknown)
    return found


def _sizes(file: Path) -> dict[str, tuple[int, int | None]]:
    """Number of buckets of each context column, and the code of what is unknown where one is named."""
    try:
        told = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON ({error}). It must read {_SHAPES}.") from None
    for key in ("features", "columns"):
        if isinstance(told, dict) and isinstance(told.get(key), dict):
            told = told[key]
    if not isinstance(told, dict) or not told:
        raise InputError(f"{file} holds no object of columns. It must read {_SHAPES}.")
    return {name: _size(file, name, entry) for name, entry in told.items()}


def _size(file: Path, name: str, entry: Any) -> tuple[int, int | None]:
    facts: Mapping[str, Any] = entry if isinstance(entry, dict) else {"num_buckets": entry}
    size, unknown = facts.get("num_buckets"), facts.get("unknown")
    if not _whole(size) or size < 1 or not (unknown is None or _whole(unknown)):
        raise InputError(
            f"{file} says {json.dumps(entry)[:80]} of the column {name!r}. It must read {_SHAPES}, with a number of "
            "buckets from 1 on, and the code of what is unknown where there is one."
        )
    return size, unknown


def _whole(number: Any) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool)
