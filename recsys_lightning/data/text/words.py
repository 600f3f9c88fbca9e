"""Texts of items out of their columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID, TITLE

OVERVIEW = "overview"
FACTS = (TITLE, "genres", "directors", "writers", "cast")
"""What makes a text where no overview is."""


def overviews(items: pd.DataFrame, columns: Sequence[str] | None) -> list[str]:
    """The text of each item, empty where nothing is known.

    Args:
        items: row r describes item r; columns hold a text, or a list of texts, for each item.
        columns: whose words make the text, in this order; None for the overview, or else what facts there are.

    Raises:
        InputError: a column is missing or holds something else than words.
    """
    if columns is None:
        columns = [OVERVIEW] if OVERVIEW in items else [name for name in FACTS if name in items]
        if not columns:
            raise InputError(
                f"The items have neither an {OVERVIEW} nor {', '.join(FACTS[:-1])} or {FACTS[-1]} to make a text of. "
                f"Name columns in data.text.columns; there are {_offered(items) or 'none'}."
            )
    parts = [[", ".join(words) for words in _column(items, name, "columns")] for name in columns]
    return [". ".join(filter(None, row)) for row in zip(*parts, strict=True)]


def reviews(items: pd.DataFrame, column: str, most: int) -> list[list[str]]:
    """The first so many reviews of each item.

    Raises:
        InputError: the column is missing or holds something else than words.
    """
    return [texts[:most] for texts in _column(items, column, "reviews")]


def _column(items: pd.DataFrame, name: str, option: str) -> list[list[str]]:
    """The texts of each item in a column, without empty ones."""
    if name not in items:
        near = difflib.get_close_matches(name, map(str, items), n=1)
        raise InputError(
            f"data.text.{option} names {name}, which is no column of the items; there are "
            f"{_offered(items) or 'none'}.{f' Did you mean {near[0]}?' if near else ''}"
        )
    found = [_texts(value) for value in items[name]]
    wrong = [row for row, texts in enumerate(found) if texts is None]
    if wrong:
        value = items[name].iloc[wrong[0]]
        raise InputError(
            f"data.text.{option} names {name}, which holds {value!r} ({type(value).__name__}) for item "
            f"{items[ITEM_ID].iloc[wrong[0]]}; it must hold texts, or lists of texts. Leave it out."
        )
    if name == TITLE:  # where an item has none, its id stands there
        ids = items[ITEM_ID].astype(str)
        found = [[text for text in texts or [] if text != own] for texts, own in zip(found, ids, strict=True)]
    return [texts or [] for texts in found]


def _texts(value: Any) -> list[str] | None:
    """The texts in a cell; None where it holds something else."""
    several: Iterable[Any] = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
    present = [text for text in several if not (text is None or text is pd.NA or text != text)]
    if not all(isinstance(text, str) for text in present):
        return None
    return [stripped for text in present if (stripped := text.strip())]


def _offered(items: pd.DataFrame) -> str:
    return ", ".join(str(name) for name in items if name != ITEM_ID and not pd.api.types.is_numeric_dtype(items[name]))
