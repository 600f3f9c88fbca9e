"""Parquet files of ready vectors: an item id and a list of numbers in each row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys_lightning.data.reading.checks import require_columns, require_file
from recsys_lightning.data.reading.frames import id_column
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID

VECTOR = "vector"


def read_vectors(file: Path) -> tuple[pd.Index, NDArray[np.float64]]:
    """The distinct ids (rows,) of a Parquet file with columns item_id and vector, and its finite vectors (rows, D).

    Raises:
        InputError: the file is missing or no Parquet, ids repeat, or vectors differ in width or hold no numbers.
    """
    table = _read(file)
    ids = pd.Index(id_column(table.column(ITEM_ID).to_pandas()).to_pandas())
    require_distinct(file, ids)
    matrix = _matrix(file, table.column(VECTOR).combine_chunks())
    if len(bad := np.flatnonzero(~np.isfinite(matrix).all(1))):
        raise InputError(
            f"{file}: {len(bad):,} vectors hold values that are no finite numbers, first that of {ids[bad[0]]!r}. "
            "Leave these rows out."
        )
    return ids, matrix


def require_distinct(file: Path, ids: pd.Index) -> None:
    """Check that each item comes once.

    Raises:
        InputError: one comes again.
    """
    if len(twice := ids[ids.duplicated()]):
        raise InputError(
            f"{file} has {twice.nunique():,} items in several rows, for instance {twice[0]!r}. Keep one row of each."
        )


def _read(file: Path) -> pa.Table:
    require_file(file)
    try:
        schema = pq.read_schema(file)
        require_columns(str(file), [ITEM_ID, VECTOR], schema.names)
        table = pq.read_table(file, columns=[ITEM_ID, VECTOR])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} is no Parquet file, or is cut off ({error}). Write it again.") from None
    if not len(table):
        raise InputError(f"{file} holds no rows. Write a row for each item that has a vector.")
    return table


def _matrix(file: Path, column: pa.Array) -> NDArray[np.float64]:
    """(rows, D) of a column of lists."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise InputError(f"{file}: the column {VECTOR} holds {kind}; each of its rows must be a list of numbers.")
    widths = pc.list_value_length(column).fill_null(0).unique().to_pylist()
    if len(widths) > 1 or 0 in widths:
        shown = ", ".join(map(str, sorted(widths)[:5]))
        raise InputError(f"{file}: vectors have {shown} numbers; all must be equally long, and none empty.")
    flat = column.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    matrix: NDArray[np.float64] = flat.reshape(len(column), -1)
    return matrix
