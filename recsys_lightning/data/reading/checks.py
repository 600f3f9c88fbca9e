"""Checks that files and columns are there, whose errors say what is there instead."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.errors import InputError

File = Path | zipfile.Path
"""A file, plain or inside a zip archive."""


def require_file(file: File) -> None:
    """Check that a file exists.

    Raises:
        InputError: it does not; the message lists what lies in its folder.
    """
    if file.is_file():
        return
    if file.exists():
        raise InputError(f"{file} is a folder, not a file. It holds: {listing(file)}.")
    folder: File = file.parent  # type: ignore[assignment]  # of an archive: a path in the archive
    if not folder.exists():
        raise InputError(f"There is no file {file}: the folder {folder} does not exist.")
    raise InputError(f"There is no file {file}. Its folder holds: {listing(folder)}.")


def require_columns(where: str, wanted: Sequence[str], found: Sequence[str], hint: str = "") -> None:
    """Check that a table has the columns it is asked for, each once.

    Raises:
        InputError: names what is missing, what was found and the nearest name.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        near = {name: difflib.get_close_matches(name, found, n=1, cutoff=0.5) for name in missing}
        nearest = "".join(f" The nearest to {name!r} is {match[0]!r}." for name, match in near.items() if match)
        raise InputError(
            f"{where} has no column {', '.join(map(repr, missing))}. "
            f"Columns found: {', '.join(map(repr, found))}; needed: {', '.join(map(repr, wanted))}.{nearest}{hint}"
        )
    twice = [name for name in wanted if list(found).count(name) > 1]
    if twice:
        raise InputError(f"{where} has more than one column {', '.join(map(repr, twice))}. Rename all but one.")


def require_numbers(items: pd.DataFrame, name: str, option: str) -> NDArray[np.float64]:
    """(I,) a column of numbers, NaN where unknown.

    Args:
        items: row r describes item r.
        name: of the column.
        option: that names it, for messages.

    Raises:
        InputError: there is no such column, it holds no numbers, or infinite ones.
    """
    offered = [str(column) for column in items if pd.api.types.is_numeric_dtype(items[column])]
    if name not in offered:
        near = difflib.get_close_matches(name, offered, n=1)
        raise InputError(
            f"{option} names {name}, which is no column of numbers of the items; there are "
            f"{', '.join(offered) or 'none'}.{f' Did you mean {near[0]}?' if near else ''}"
        )
    values: NDArray[np.float64] = items[name].to_numpy(np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise InputError(f"{option} names {name}, which holds infinite values. Mend the table of items.")
    return values


def listing(folder: File) -> str:
    """Names of what lies in a folder, the first twelve of them."""
    names = sorted(entry.name for entry in folder.iterdir())
    return (", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "nothing"


def require_id_column(file: File, names: Sequence[str], header: Sequence[str]) -> str:
    """The first of the names that is a column.

    Raises:
        InputError: none of them is.
    """
    found = next((name for name in names if name in header), None)
    if found is None:
        raise InputError(
            f"{file} has no column of ids: {' or '.join(names)}. Columns found: {', '.join(map(repr, header))}."
        )
    return found
