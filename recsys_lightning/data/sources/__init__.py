"""Raw data sets, one file each: files on disk in, interactions with user and item tables out."""

from __future__ import annotations

import difflib
from pathlib import Path

from recsys_lightning.data.sources.amazon import Amazon
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.data.sources.books import BookColumns, Books
from recsys_lightning.data.sources.goodbooks import Goodbooks
from recsys_lightning.data.sources.graph_ready import GraphReady
from recsys_lightning.data.sources.hetrec import HetrecLastFM
from recsys_lightning.data.sources.lightgcn import LightGCNSplit
from recsys_lightning.data.sources.movielens import MovieLens
from recsys_lightning.data.sources.movietweetings import MovieTweetings
from recsys_lightning.data.sources.synthetic import Planted, SyntheticDomains
from recsys_lightning.data.sources.table import Attributes, Table
from recsys_lightning.errors import InputError

SOURCES: dict[str, type[Source]] = {source.name: source for source in Source.__subclasses__()}
"""Every source, by its name."""

DATA_SETS: dict[str, type[Source]] = {name: source for source in SOURCES.values() for name in source.variants}
"""Every data set that needs nothing but its name, with its source."""


def open_source(name: str, root: Path) -> Source:
    """The source of a data set of the catalogue.

    Args:
        name: e.g. `ml-100k`.
        root: the data root.

    Raises:
        InputError: there is no such data set.
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no data set {name!r}.{hint} Known: {', '.join(sorted(DATA_SETS))}.")
    return DATA_SETS[name](root, **DATA_SETS[name].variants[name])


__all__ = [
    "DATA_SETS",
    "SOURCES",
    "Amazon",
    "Attributes",
    "BookColumns",
    "Books",
    "Card",
    "Goodbooks",
    "GraphReady",
    "HetrecLastFM",
    "LightGCNSplit",
    "MovieLens",
    "MovieTweetings",
    "Planted",
    "Raw",
    "Source",
    "SyntheticDomains",
    "Table",
    "open_source",
]
