"""Your own data: any table of interactions, with tables of attributes where there are any."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.tables import Columns, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError


@dataclass(frozen=True)
class Attributes:
    """A table of attributes of items or users.

    Attributes:
        file: below the folder of the source; CSV, TSV (plain or gzip) or Parquet.
        id: column of the ids.
        columns: column of the file -> name to give it; titles are named `title`. None keeps all, in snake case.
        lists: column (as named here) that holds several values -> the separator between them.
        numbers: columns (as named here) that are numbers.
        separator: between the columns; None finds it out.
        encoding: of a text file.
    """

    file: str
    id: str
    columns: dict[str, str] | None = None
    lists: dict[str, str] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    separator: str | None = None
    encoding: str = "utf-8"


class Table(Source):
    """Interactions of any CSV, TSV or Parquet file, or of a DataFrame.

    Args:
        root: the data root.
        interactions: a file below `<root>/<folder>/`, or a DataFrame.
        columns: which column holds what; with `domain`, the items are of several domains, each of one of them.
        folder: below the root.
        name: of the data set; the folder's, or `table`, where none is given.
        separator: between the columns of a text file; None finds it out.
        header: names of the columns of a text file without a header line.
        encoding: of a text file.
        on_bad: `error`, or `drop` to leave out rows that cannot be understood, with a warning of how many.
        items: attributes of items; a DataFrame is indexed by the item id, with lists of strings where there are several
            values.
        users: attributes of users; a DataFrame likewise.
        item_type: node type of the items.
        attributes: item columns that become graph nodes -> node type of each.
    """

    name = "table"
    folder = ""
    card = Card(
        title="Your own table",
        licence="your own",
        homepage="the section on your own data in data/README.md",
        files={},
    )

    def __init__(
        self,
        root: Path,
        interactions: str | pd.DataFrame,
        columns: Columns = Columns(),  # immutable
        folder: str = "",
        name: str | None = None,
        separator: str | None = None,
        header: list[str] | None = None,
        encoding: str = "utf-8",
        on_bad: Literal["error", "drop"] = "error",
        items: Attributes | pd.DataFrame | None = None,
        users: Attributes | pd.DataFrame | None = None,
        item_type: str = "item",
        attributes: dict[str, str] | None = None,
    ) -> None:
        super().__init__(root)
        self.folder, self.name = folder, name or folder or "table"
        self.interactions, self.columns = interactions, columns
        self.separator, self.header, self.encoding, self.on_bad = separator, header, encoding, on_bad
        self.items, self.users = items, users
        self.item_type, self.attributes = item_type, dict(attributes or {})
        self.card = Card(type(self).card.title, "your own", type(self).card.homepage, files=self._described())

    def files(self) -> list[Path]:
        """The files named; none for DataFrames."""
        return [self.path(name) for name in self.card.files]

    def options(self) -> dict[str, object]:
        """How the files are read; for DataFrames, a digest of their content."""
        return {
            "interactions": _identity(self.interactions),
            "columns": asdict(self.columns),
            "separator": self.separator,
            "header": self.header,
            "encoding": self.encoding,
            "on_bad": self.on_bad,
            "items": _identity(self.items),
            "users": _identity(self.users),
        }

    def read(self) -> Raw:
        """Read the tables."""
        self.check()
        table = self.interactions if isinstance(self.interactions, pd.DataFrame) else self.path(self.interactions)
        interactions = read_interactions(
            table,
            self.columns,
            separator=self.separator,
            names=self.header,
            encoding=self.encoding,
            on_bad=self.on_bad,
        )
        items = self._attributes(self.items, self.columns.item_id)
        unknown = sorted(set(self.attributes) - set(items.columns))
        if unknown:
            raise InputError(
                f"{self.name}: attributes names {', '.join(unknown)}, which the table of items does not have. "
                f"Its columns: {', '.join(items.columns) or 'none'}."
            )
        return Raw(interactions, items, self._attributes(self.users, self.columns.user_id))

    def _attributes(self, table: Attributes | pd.DataFrame | None, name: str) -> pd.DataFrame:
        if table is None:
            return empty(name)
        if isinstance(table, pd.DataFrame):
            named = table.rename_axis(name)
            lists = {str(column): "" for column in named if _holds_lists(named[column])}
            keep = {str(column): str(column) for column in named}
            return read_attributes(named.reset_index(), name, rename=keep, lists=lists)
        return read_attributes(
            self.path(table.file),
            table.id,
            rename=table.columns,
            lists=table.lists,
            numbers=table.numbers,
            separator=table.separator,
            encoding=table.encoding,
        )

    def _described(self) -> dict[str, str]:
        named = {self.interactions: "interactions"} if isinstance(self.interactions, str) else {}
        for role, table in (("items", self.items), ("users", self.users)):
            if isinstance(table, Attributes):
                named[table.file] = f"attributes of {role}"
        return named


def _holds_lists(values: pd.Series) -> bool:
    return values.dtype == object and bool(values.map(lambda value: isinstance(value, list | tuple)).any())


def _identity(table: str | Attributes | pd.DataFrame | None) -> object:
    if isinstance(table, Attributes):
        return asdict(table)
    if isinstance(table, pd.DataFrame):
        texts = table.reset_index().astype(str)
        rows = pd.util.hash_pandas_object(texts, index=False).to_numpy().tobytes()
        return hashlib.sha256("\0".join(map(str, table.columns)).encode() + rows).hexdigest()
    return table
