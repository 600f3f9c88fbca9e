"""Cells of text that hold more than a text: lists, dates and numbers, with the rows at fault named."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from recsys_lightning.data.reading.loose import loose_list, loose_number
from recsys_lightning.errors import InputError

Value = TypeVar("Value")

_DATES = (r"^(?P<year>\d{4})-\d{1,2}-\d{1,2}\b", r"^\d{1,2}/\d{1,2}/(?P<year>\d{4})$")


def json_lists(where: str, values: pd.Series, separator: str) -> pd.Series:
    """Lists of strings out of cells that are JSON lists, or texts with a separator between values.

    A JSON list, told by its bracket, may hold strings, whole numbers, or objects with a `name`, as TMDB writes them.

    Args:
        where: the table, for messages.
        values: texts in the order of the rows, named as the column is.
        separator: between the values of a cell that is no JSON list.

    Raises:
        InputError: a cell begins as a JSON list and is none, with its row, counted from 1.
    """
    texts = values.fillna("").astype(str).str.strip()
    lists: list[list[str]] = []
    bad: list[int] = []
    for row, text in enumerate(texts):
        try:
            lists.append(_words(text, separator))
        except (ValueError, KeyError, RecursionError):
            bad.append(row)
    _refuse(where, texts, bad, 'a JSON list such as ["a", "b"] or [1, 2]')
    return pd.Series(lists, index=values.index, dtype=object)


def years(where: str, values: pd.Series) -> pd.Series:
    """The years of dates, written as ISO 8601 or M/D/YYYY; NaN where a cell is empty.

    Args:
        where: the table, for messages.
        values: texts in the order of the rows, named as the column is.

    Raises:
        InputError: a cell is no date, with its row, counted from 1.
    """
    texts = values.fillna("").astype(str).str.strip()
    iso, american = (texts.str.extract(pattern)["year"] for pattern in _DATES)
    found = iso.fillna(american).astype("float64")
    bad = np.flatnonzero(found.isna() & (texts != "")).tolist()
    _refuse(where, texts, bad, "a date such as 1995-10-30 or 10/30/1995")
    return found


def loose_lists(where: str, values: pd.Series, separator: str) -> pd.Series:
    """Lists of strings out of cells as shops write them; what is no list is empty, and a warning counts it.

    Args:
        where: the table, for messages.
        values: indexed by the id, named as the column is.
        separator: between the values of a plain text.
    """
    lists = _loosely(where, values, lambda cell: loose_list(cell, separator), "no lists", list[str])
    return pd.Series(lists, index=values.index, dtype=object)


def loose_numbers(where: str, values: pd.Series) -> pd.Series:
    """Numbers out of cells as shops write them; what is no number is unknown, NaN, and a warning counts it.

    Args:
        where: the table, for messages.
        values: indexed by the id, named as the column is.
    """
    found = _loosely(where, values, loose_number, "no numbers", lambda: None)
    return pd.Series(found, index=values.index, dtype="float64")


def clean(text: str) -> str:
    """A text of JSON without the spaces around it, and without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode().strip()


def _words(text: str, separator: str) -> list[str]:
    if not text.startswith("["):
        return list(dict.fromkeys(word for part in text.split(separator) if (word := part.strip())))
    found = json.loads(text)
    named = [entry["name"] if isinstance(entry, dict) else entry for entry in found]
    if any(isinstance(entry, bool) or not isinstance(entry, str | int) for entry in named):
        raise ValueError(text)
    return list(dict.fromkeys(word for entry in named if (word := clean(str(entry)))))


def _loosely(
    where: str, values: pd.Series, read: Callable[[object], Value], what: str, otherwise: Callable[[], Value]
) -> list[Value]:
    """What is read of each cell; the first ids whose cells cannot be read stand in a warning."""
    found: list[Value] = []
    bad: list[str] = []
    for name, cell in values.items():
        try:
            found.append(read(cell))
        except ValueError:
            found.append(otherwise())
            bad.append(f"{_short(str(cell))!r} of {name}")
    if bad:
        more = " and others" if len(bad) > 3 else ""
        warnings.warn(
            f"{where}: the column {values.name!r} holds {len(bad):,} values that are {what} and count as unknown: "
            f"{', '.join(bad[:3])}{more}.",
            stacklevel=4,
        )
    return found


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(where: str, texts: pd.Series, rows: Sequence[int], wanted: str) -> None:
    if len(rows):
        shown = ", ".join(str(row + 1) for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
        raise InputError(
            f"{where}: the column {texts.name!r} holds in {len(rows):,} rows (row {shown}, counted from 1) what is not "
            f"{wanted}: {_short(texts.iloc[rows[0]])}. Mend these cells, or empty them."
        )
