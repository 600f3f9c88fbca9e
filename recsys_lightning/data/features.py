"""Features of items as rows of numbers, standardised by the items of train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys_lightning.data.reading.checks import require_columns, require_file, require_numbers
from recsys_lightning.data.reading.frames import id_column
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID

VECTOR = "vector"


def numbers(items: pd.DataFrame, names: Sequence[str], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns of numbers as z-scores, unknown ones as 0.

    A column that is unknown for an item of train is followed by a column that is 1 where it is unknown, else 0.

    Args:
        items: row r describes item r.
        names: columns.
        known: (I,) items of train, of which means and deviations are taken.

    Raises:
        InputError: a column is missing, holds no numbers, or says nothing of the items of train.
    """
    columns: list[NDArray[np.float64]] = []
    for name in names:
        values = require_numbers(items, name, "data.graph.features")
        missing = np.isnan(values)
        seen = values[known & ~missing]
        # np.ptp, as the deviation of equal numbers need not be exactly 0
        if not len(seen) or np.ptp(seen) == 0:
            what = f"is {seen[0]:g} for every item" if len(seen) else "is unknown for all items"
            raise InputError(
                f"data.graph.features names {name}, which {what} of train: it tells nothing. Leave it out."
            )
        columns.append(np.where(missing, 0.0, (values - seen.mean()) / seen.std()))
        if missing[known].any():
            columns.append(missing.astype(np.float64))
    return np.stack(columns, axis=1).astype(np.float32)


def vectors(file: Path, item_ids: pa.StringArray, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(I, D) vectors of a Parquet file with columns item_id and vector, over their mean norm; items without one get 0.

    Args:
        file: a row an item; items that are not in the data do not matter.
        item_ids: raw ids of the items.
        known: (I,) items of train, of which the mean norm is taken.

    Raises:
        InputError: the file is missing or no Parquet, ids repeat, vectors differ in width or hold no numbers, or no
            item of train has one.
    """
    table = _read(file)
    ids = id_column(table.column(ITEM_ID).to_pandas()).to_pandas()
    if (twice := ids[ids.duplicated()]).any():
        raise InputError(
            f"{file} has {twice.nunique():,} items in several rows, for instance {twice.iloc[0]!r}. "
            "Keep one row of each."
        )
    matrix = _matrix(file, table.column(VECTOR).combine_chunks())
    row = pd.Index(ids).get_indexer(item_ids.to_pandas())
    if not (known & (row >= 0)).any():
        raise InputError(
            f"{file} has a vector for no item of train: its ids look like {ids.iloc[0]!r}, those of the data like "
            f"{item_ids[0].as_py()!r}. Write the raw ids of the data into its column {ITEM_ID}."
        )
    found = np.where((row >= 0)[:, None], matrix[row], 0.0)
    norm = np.linalg.norm(found[known & (row >= 0)], axis=1).mean()
    if norm == 0:
        raise InputError(f"{file} holds vectors of zeros only, for the items of train. Leave data.graph.vectors out.")
    scaled: NDArray[np.float32] = (found / norm).astype(np.float32)
    return scaled


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
    if not np.isfinite(matrix).all():
        bad = int((~np.isfinite(matrix)).any(1).sum())
        raise InputError(f"{file}: {bad:,} vectors hold values that are no finite numbers. Leave these rows out.")
    return matrix
