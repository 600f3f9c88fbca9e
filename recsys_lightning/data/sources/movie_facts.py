"""What is known and written of films beside their ratings: tables of facts, and reviews."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pandas as pd

from recsys_lightning.data.reading.attributes import read_attributes
from recsys_lightning.data.reading.cells import clean
from recsys_lightning.data.reading.checks import require_file, require_id_column
from recsys_lightning.data.reading.delimited import look
from recsys_lightning.errors import InputError

_NUMBERS = ("budget", "revenue", "popularity", "vote_average", "vote_count", "runtime")
_DATE = "release_date"


def read_facts(file: Path, ids: Sequence[str], texts: Iterable[str], lists: Iterable[str]) -> pd.DataFrame:
    """A CSV file of facts of films, of which it may hold some columns only.

    Args:
        file: with budget, revenue, popularity, vote_average, vote_count and runtime, in which 0 means unknown, and
            release_date, of which `year` is made.
        ids: what the column of ids may be called.
        texts: further columns of one text.
        lists: further columns of several values: with `|` between, or JSON lists.

    Returns:
        The columns that the file has, indexed by the raw id.

    Raises:
        InputError: the file lacks ids or every other column, or a cell cannot be understood.
    """
    header = look(file, separator=",").header
    known = [*texts, *lists, *_NUMBERS, _DATE]
    columns = [name for name in known if name in header]
    some = [name for name in lists if name in header]
    numbers = [name for name in _NUMBERS if name in header]
    id_name = require_id_column(file, ids, header)
    if not columns:
        raise InputError(
            f"{file} has none of the columns that are read: {', '.join(known)}. "
            f"Columns found: {', '.join(map(repr, header))}."
        )
    found = read_attributes(
        file,
        id_name,
        rename={name: "year" if name == _DATE else name for name in columns},
        lists=dict.fromkeys(some, "|"),
        json=some,
        numbers=numbers,
        dates=["year"],
        separator=",",
    )
    return found.assign(**{name: found[name].where(found[name] > 0) for name in numbers})


def join_facts(items: pd.DataFrame, facts: pd.DataFrame, where: str) -> pd.DataFrame:
    """The films with the facts known of them; what is known of others is left out.

    Args:
        items: indexed by the raw id; `year` is that of the title, and stays where the facts lack it.
        facts: likewise.
        where: the facts come from, for messages.

    Raises:
        InputError: the facts are those of other films.
    """
    _require_overlap(items.index, facts.index, where)
    found = facts.reindex(items.index)
    for name in found:
        if facts[name].map(lambda value: isinstance(value, list)).all():
            found[name] = found[name].map(lambda value: value if isinstance(value, list) else [])
        elif not pd.api.types.is_numeric_dtype(facts[name]):
            found[name] = found[name].fillna("")
    if "year" in found:
        found["year"] = found["year"].fillna(items["year"])
    return items.assign(**{str(name): found[name] for name in found})


def join_reviews(items: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The films with a column `reviews`: lists of texts in the order of the file; reviews of others are left out.

    Args:
        items: indexed by the raw id.
        file: JSONL, plain or gzip: on each line an object with `movie_id`, a whole number or a string, and `text`.

    Raises:
        InputError: a line is something else, or no review is one of these films.
    """
    found: dict[str, list[str]] = {}
    for movie, text in _reviews(file):
        found.setdefault(movie, []).append(text)
    if not found:
        raise InputError(f"{file} holds no reviews. Leave it out, or write one on each line.")
    _require_overlap(items.index, pd.Index(found), str(file))
    return items.assign(reviews=pd.Series([found.get(movie, []) for movie in items.index], items.index, dtype=object))


def year_of_title(titles: pd.Series) -> pd.Series:
    """The year at the end of titles such as `Heat (1995)`; NaN where there is none."""
    return titles.str.extract(r"\((\d{4})\)\s*$", expand=False).astype("float64")


def _reviews(file: Path) -> Iterator[tuple[str, str]]:
    """Film and text of each line that is not blank and whose text is not empty."""
    require_file(file)
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with cast(BinaryIO, gzip.open(file)) if packed else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    movie, text = _review(line, f"{file}, line {number}")
                    if text:
                        yield movie, text
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{file} is cut off or damaged ({error}). Fetch or copy it again.") from None


def _review(line: bytes, where: str) -> tuple[str, str]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}, is no JSON ({error}). Write an object with movie_id and text.") from None
    movie, text = (entry.get(name) if isinstance(entry, dict) else None for name in ("movie_id", "text"))
    if isinstance(movie, bool) or not isinstance(movie, int | str) or not isinstance(text, str):
        raise InputError(
            f"{where}, is no object with movie_id (a whole number or a string) and text (a string). Mend that line."
        )
    return str(movie), clean(text)


def _require_overlap(films: pd.Index, named: pd.Index, where: str) -> None:
    if not named.isin(films).any():
        raise InputError(
            f"{where} is about other films: none of its {len(named):,} ids is one of the data. Its ids look like "
            f"{named[0]!r}, those of the data like {films[0]!r}."
        )
