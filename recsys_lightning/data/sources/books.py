"""Books and who read them: a pair of tables, books.csv and users.csv, whatever their columns are called."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_lightning.data.reading.attributes import empty, read_attributes
from recsys_lightning.data.reading.checks import require_columns, require_file
from recsys_lightning.data.reading.delimited import look
from recsys_lightning.data.reading.tables import Columns, positions, read_interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError

_LISTS, _NUMBERS = ("authors", "categories"), ("average_rating", "price", "rating_number")


@dataclass(frozen=True)
class BookColumns:
    """Which column of the table of books holds what; None for what it lacks.

    Attributes:
        id: ids of books, as the interactions name them.
        title: titles.
        authors: an author, or several: with a separator between them, as a list of JSON or Python, or as an object with
            a `name`.
        categories: likewise.
        average_rating: mean of the ratings of all times.
        price: with or without a currency.
        rating_number: number of the ratings of all times.

    Raises:
        InputError: two of them name one column.
    """

    id: str = "item_id"
    title: str | None = "title"
    authors: str | None = "authors"
    categories: str | None = "categories"
    average_rating: str | None = "average_rating"
    price: str | None = "price"
    rating_number: str | None = "rating_number"

    def __post_init__(self) -> None:
        first: dict[str, str] = {}
        for name, column in vars(self).items():
            if column is not None and name != "id" and first.setdefault(column, name) != name:
                raise InputError(
                    f"data.book_columns.{first[column]} and data.book_columns.{name} both name the column {column!r}. "
                    "A column can be one of them: set the other to null."
                )

    @property
    def rename(self) -> dict[str, str]:
        """Column of the file -> our name of it."""
        return {column: name for name, column in vars(self).items() if column is not None and name != "id"}


BOOKS, USERS = BookColumns(), Columns(rating="rating", timestamp="timestamp")


class Books(Source):
    """Books with titles, authors, categories, mean ratings and prices, and the interactions of users with them.

    Args:
        root: the data root.
        books: file of the books below `<root>/<folder>/`: CSV or TSV, plain or gzip, or Parquet.
        users: file of the interactions, likewise.
        folder: below the root.
        name: of the data set; the folder's where none is given.
        book_columns: which column of `books` holds what.
        columns: which column of `users` holds what.
        file_order: whether the order of the rows of `users` is that of time, in want of a clock.
        author_separator: between authors that stand in one text.
        category_separator: between categories that stand in one text.
        encoding: of text files.
        on_bad: `error`, or `drop` to leave out interactions that cannot be understood, with a warning of how many.
    """

    name = "books"
    folder = "books"
    card = Card(
        title="Your own books and their readers: two tables",
        licence="your own",
        homepage="the section on books in data/README.md",
        notes=("Mean and number of ratings, and prices, are taken to be later than the interactions.",),
    )
    item_type = "book"

    def __init__(
        self,
        root: Path,
        books: str = "books.csv",
        users: str = "users.csv",
        folder: str = "books",
        name: str | None = None,
        book_columns: BookColumns = BOOKS,
        columns: Columns = USERS,
        file_order: bool = False,
        author_separator: str = ",",
        category_separator: str = ",",
        encoding: str = "utf-8",
        on_bad: Literal["error", "drop"] = "error",
    ) -> None:
        super().__init__(root)
        clock = columns.timestamp or columns.order
        if file_order and clock is not None:
            raise InputError(
                f"data.file_order says that the order of {users} is that of time, and data.columns names a clock: "
                f"{clock}. Leave one of them out (data.columns.timestamp null)."
            )
        self.folder, self.name = folder, name or folder or "books"
        self.books, self.users, self.encoding, self.on_bad = books, users, encoding, on_bad
        self.book_columns, self.columns, self.file_order = book_columns, columns, file_order
        self.separators = {"authors": author_separator, "categories": category_separator}
        self.card = replace(type(self).card, files={users: "interactions", books: "titles and facts of the books"})
        read = set(book_columns.rename.values())
        self.attributes = {
            name: kind for name, kind in (("authors", "author"), ("categories", "genre")) if name in read
        }
        self.later = tuple(name for name in _NUMBERS if name in read)

    def files(self) -> list[Path]:
        """Interactions, then books."""
        return [self.path(self.users), self.path(self.books)]

    def options(self) -> dict[str, object]:
        """How the files are read."""
        return {
            "books": self.books,
            "users": self.users,
            "book_columns": asdict(self.book_columns),
            "columns": asdict(self.columns),
            "file_order": self.file_order,
            "separators": self.separators,
            "encoding": self.encoding,
            "on_bad": self.on_bad,
        }

    def read(self) -> Raw:
        """Read both tables; prices and other numbers that cannot be read count as unknown, with a warning."""
        self.check()
        users, books = self.files()
        rename = self.book_columns.rename
        for file, option, wanted in (
            (books, "data.book_columns", [self.book_columns.id, *rename]),
            (users, "data.columns", list(self.columns.used.values())),
        ):
            hint = f" {option} says which column holds what; null for what the file lacks."
            require_columns(str(file), wanted, _header(file, self.encoding), hint)
        interactions = read_interactions(users, self.columns, encoding=self.encoding, on_bad=self.on_bad)
        if self.file_order:
            interactions = replace(interactions, order=positions(interactions.user))
        names = set(rename.values())
        items = read_attributes(
            books,
            self.book_columns.id,
            rename=rename,
            lists={name: self.separators[name] for name in _LISTS if name in names},
            numbers=[name for name in _NUMBERS if name in names],
            loose=[*_LISTS, *_NUMBERS],
            encoding=self.encoding,
        )
        return Raw(interactions, items, empty(self.columns.user_id))


def _header(file: Path, encoding: str) -> list[str]:
    """Names of the columns of a file."""
    if file.suffix not in (".parquet", ".pq"):
        return list(look(file, encoding=encoding).header)
    require_file(file)
    try:
        return list(pq.read_schema(file).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} is not a Parquet file, or is cut off or damaged: {error}") from None
