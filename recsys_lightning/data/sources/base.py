"""What a source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading.checks import listing
from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class Card:
    """What a person should know of a data set before using it.

    Attributes:
        title: one line.
        licence: in words.
        homepage: where an ordinary user reads about it.
        url: of the official archive, where there is one that may be fetched.
        sha256: of that archive; None where it has not been verified.
        inside: folder within that archive whose files are wanted.
        files: what must lie in `<root>/<folder>/`, with a word on each.
        notes: known peculiarities, one sentence each.
    """

    title: str
    licence: str
    homepage: str
    url: str | None = None
    sha256: str | None = None
    inside: str = ""
    files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def directions(self, folder: Path) -> str:
        """Sentences that say where to get the files and where to put them."""
        if self.url is None:
            return f"Get the files as {self.homepage} describes and put them into {folder}."
        known = f" (sha256 {self.sha256})" if self.sha256 else ""
        part = f" of its folder {self.inside}" if self.inside else ""
        return f"Fetch {self.url}{known} and put the files{part} into {folder}. About it: {self.homepage}"


@dataclass(frozen=True)
class Raw:
    """What a source reads: the interactions, and a table of attributes for items and for users.

    `items` and `users` are indexed by the raw id (strings) and may lack rows or hold more than the interactions name.
    A column of several values per item (genres) holds lists of strings; other texts are "" and numbers NaN where
    nothing is known. `items` has `title` where titles exist.
    """

    interactions: Interactions
    items: pd.DataFrame
    users: pd.DataFrame


class Source(ABC):
    """One raw data set on disk.

    A source whose arguments decide one of the attributes below sets it on the instance.

    Args:
        root: the data root; the files lie in `<root>/<folder>/`.
    """

    name: str
    """As a configuration file and `recsys data describe <name>` take it."""
    folder: str
    """Below the data root."""
    card: Card
    item_type: str = "item"
    """Node type of the items in graphs: movie, book, artist ..."""
    attributes: dict[str, str] = {}  # noqa: RUF012  # replaced whole, never changed
    """Item columns that can become graph nodes, with the node type of each, e.g. {"genres": "genre"}."""
    on_request: tuple[str, ...] = ()
    """Node types among them that are no part of the graph unless it is asked for them."""
    later: tuple[str, ...] = ()
    """Item columns that were gathered after the interactions, such as counts of ratings: they tell of the future."""
    variants: ClassVar[dict[str, dict[str, object]]] = {}
    """Data set name -> constructor options, for the catalogue; none means that files must be named first."""

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

    def check(self) -> None:
        """Check that all files are there.

        Raises:
            InputError: names those that are missing, what lies there instead, and where to get them.
        """
        missing = [file for file in self.files() if not file.is_file()]
        if not missing:
            return
        folder = self.path("")
        found = f"It holds: {listing(folder)}." if folder.is_dir() else "That folder does not exist."
        names = ", ".join(file.name for file in missing)
        raise InputError(f"{self.name}: {names} is missing in {folder}. {found} {self.card.directions(folder)}")
