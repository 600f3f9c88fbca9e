"""Tables in memory into Arrow tables with ids that are exact strings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_lightning.data.reading.checks import require_columns
from recsys_lightning.errors import InputError

ID_ROLES = ("user_id", "item_id", "domain")


def to_arrow(table: pd.DataFrame | pa.Table, used: Mapping[str, str]) -> pa.Table:
    """The used columns of a table, ids of any exact type allowed.

    Args:
        table: a DataFrame (its index is ignored) or an Arrow table.
        used: role -> column, the roles being those of `tables.Columns`.

    Raises:
        InputError: a column is missing, or ids are of a type that may have lost digits.
    """
    names = [str(name) for name in (table.columns if isinstance(table, pd.DataFrame) else table.column_names)]
    require_columns("The table", list(used.values()), names)
    if isinstance(table, pa.Table):
        require_id_types("The table", table.schema, used)
        return table.select(list(used.values()))
    named = table.set_axis(names, axis=1)
    columns = {
        column: id_column(named[column]) if role in ID_ROLES else _value_column(named[column])
        for role, column in used.items()
    }
    return pa.table(columns)


def require_id_types(where: str, schema: pa.Schema, used: Mapping[str, str]) -> None:
    """Check that id columns hold strings or integers.

    Raises:
        InputError: one does not.
    """
    for role, column in used.items():
        kind = schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        exact = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
        if role in ID_ROLES and not any(check(kind) for check in exact):
            raise _inexact(where, column, str(kind))


def id_column(series: pd.Series) -> pa.Array:
    """Ids as strings: integers in decimal, texts as they are, missing ones null.

    Raises:
        InputError: the ids are floats, dates or anything else without one exact text.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_integer_dtype(series.dtype):
        return pa.array(series, from_pandas=True).cast(pa.string())
    if series.dtype == object:
        missing = series.isna()
        kinds = set(series[~missing].map(type))
        if kinds - {str, int} and not all(issubclass(kind, np.integer) for kind in kinds - {str, int}):
            raise _inexact("The table", str(series.name), ", ".join(sorted(kind.__name__ for kind in kinds)))
        return pa.array(series.where(missing, series.map(str)), pa.string(), from_pandas=True)
    if not pd.api.types.is_string_dtype(series.dtype):
        raise _inexact("The table", str(series.name), str(series.dtype))
    return pa.array(series, pa.string(), from_pandas=True)


def _value_column(series: pd.Series) -> pa.Array:
    if series.dtype == object:
        # texts may be numbers or dates, which the reader tells apart; None and NaN are empty
        missing = series.isna()
        return pa.array(series.where(missing, series.map(str)), pa.string(), from_pandas=True)
    return pa.array(series, from_pandas=True)


def _inexact(where: str, column: str, kind: str) -> InputError:
    return InputError(
        f"{where}: the id column {column!r} is of type {kind}. Ids must be strings or integers: as floats they lose "
        "digits above 2^53 and become 1.0, which often happens when one id is missing. Read the column as text, for "
        f"instance with pandas.read_csv(..., dtype={{{column!r}: str}}), and drop rows without an id."
    )
