"""What a source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from recsys_lightning.data.interactions import Interactions


@dataclass(frozen=True)
class Card:
    """What a person should know of a data set before using it.

    Attributes:
        title: one line.
        licence: in words.
        homepage: where an ordinary user reads about it.
        url: of the official archive, where there is one that may be fetched.
        sha256: of that archive.
        files: what must lie in `<root>/<folder>/`, with a word on each.
        notes: known peculiarities, one sentence each.
    """

    title: str
    licence: str
    homepage: str
    url: str | None = None
    sha256: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Raw:
    """What a source reads: the interactions, and a table of attributes for items and for users.

    `items` and `users` are indexed by the raw id (strings) and may lack rows or hold more than the interactions name.
    A column of several values per item (genres) holds lists of strings. `items` has `title` where titles exist.
    """

    interactions: Interactions
    items: pd.DataFrame
    users: pd.DataFrame


class Source(ABC):
    """One raw data set on disk.

    Args:
        root: the data root; the files lie in `<root>/<folder>/`.
    """

    name: ClassVar[str]
    """As `recsys data describe <name>` takes it."""
    folder: ClassVar[str]
    """Below the data root."""
    card: ClassVar[Card]
    item_type: ClassVar[str] = "item"
    """Node type of the items in graphs: movie, book, artist ..."""
    attributes: ClassVar[dict[str, str]] = {}
    """Item columns that become graph nodes, with the node type of each, e.g. {"genres": "genre"}."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @abstractmethod
    def files(self) -> list[Path]:
        """Every file that `read` opens; their content identifies the data in caches."""

    @abstractmethod
    def read(self) -> Raw:
        """Read the files.

        Raises:
            InputError: a file is missing or not as it should be, with its name, line, column and what to do.
        """

    def options(self) -> dict[str, object]:
        """What else decides what `read` returns (a variant, a fold), as plain values for the cache key."""
        return {}

    def path(self, file: str) -> Path:
        """Where a file of this source lies."""
        return self.root / self.folder / file
