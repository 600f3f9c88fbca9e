"""Attribute tables: what is known of items or users, one row an id."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys_lightning.data.reading import convert
from recsys_lightning.data.reading.cells import json_lists, loose_lists, loose_numbers, years
from recsys_lightning.data.reading.checks import File, require_columns
from recsys_lightning.data.reading.delimited import SuspectError, look
from recsys_lightning.data.reading.frames import id_column
from recsys_lightning.errors import InputError


def read_attributes(
    table: File | pd.DataFrame,
    id_column_name: str,
    *,
    rename: Mapping[str, str] | None = None,
    lists: Mapping[str, str] | None = None,
    json: Sequence[str] = (),
    loose: Sequence[str] = (),
    numbers: Sequence[str] = (),
    dates: Sequence[str] = (),
    separator: str | None = None,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> pd.DataFrame:
    """Read a table of attributes, indexed by the raw id.

    Where an id stands in several rows, the first is kept and a warning says of how many ids that is true.

    Args:
        table: a CSV or TSV file, plain or gzip, a Parquet file, or a DataFrame.
        id_column_name: column of the ids.
        rename: column of the table -> name in the result; columns not named are left out. None keeps all of them,
            named in lower snake case.
        lists: column of the result -> separator between its values; it will hold lists of strings. In a DataFrame or a
            Parquet file the values may be lists already.
        json: those of the lists whose cells may be JSON lists too.
        loose: those of the lists and numbers that are written as shops do it, such as `$12.99` and `['a', 'b']`
            (reading/loose.py): cells that cannot be read count as unknown, and a warning says how many.
        numbers: columns of the result that are numbers; NaN where empty. All others are texts, "" where empty.
        dates: columns of the result that hold the years of dates; NaN where empty.
        separator: between the columns of a text file; None finds it out.
        names: of the columns of a text file without a header line.
        encoding: of a text file.
        quoting: whether `"` protects separators and line ends in a text file.

    Raises:
        InputError: a file or column is missing, an id is empty, or a number, a date or a JSON list is none.
    """
    where = "the table" if isinstance(table, pd.DataFrame) else str(table)
    frame = _frame(table, separator, names, encoding, quoting)
    rename = {name: _snake(name) for name in frame.columns if name != id_column_name} if rename is None else rename
    require_columns(where, [id_column_name, *rename], list(frame.columns))
    unknown = sorted({*(lists or {}), *numbers} - set(rename.values()))
    if unknown:
        raise InputError(f"{where} gives no column {', '.join(unknown)}, named among its lists or numbers.")
    index = _index(where, frame[id_column_name])
    columns: dict[str, pd.Series] = {}
    for source, name in rename.items():
        values, kinds = frame[source].set_axis(index), (json, loose, numbers, dates)
        columns[name] = _column(where, values, (lists or {}).get(name), *(name in kind for kind in kinds))
    return _first_of_each(where, pd.DataFrame(columns, index=index))


def split_lists(values: pd.Series, separator: str) -> pd.Series:
    """Texts into lists of strings: trimmed, without empty ones, each value once and in the order written.

    Args:
        values: texts, or lists of strings already.
        separator: between the values of a text; spaces around it do not count.
    """
    if len(values) and values.map(lambda value: isinstance(value, list | tuple | np.ndarray)).all():
        array = pa.array(values.map(list).tolist(), pa.list_(pa.string()))
    else:
        array = pc.split_pattern(
            pa.array(values.fillna("").astype(str).tolist(), pa.string()), separator.strip() or " "
        )
    words = pd.DataFrame(
        {
            "row": pc.list_parent_indices(array).to_numpy(zero_copy_only=False),
            "word": pc.utf8_trim_whitespace(array.flatten()).to_numpy(zero_copy_only=False),
        }
    )
    return collect(words["row"][words["word"] != ""], words["word"][words["word"] != ""], values.index)


def collect(row: pd.Series, word: pd.Series, index: pd.Index) -> pd.Series:
    """Lists of strings out of (row, value) pairs, for each row of an index; a repeated pair counts once.

    Args:
        row: positions in `index`, ascending.
        word: the value of each pair.
        index: of the result.
    """
    pairs = pd.DataFrame({"row": row, "word": word}).drop_duplicates()
    ends = np.searchsorted(pairs["row"].to_numpy(), np.arange(len(index)), side="right").tolist()
    words = pairs["word"].tolist()
    return pd.Series([words[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)], index=index, dtype=object)


def read_text(
    file: File,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> pd.DataFrame:
    """A text file of columns as a table of texts.

    Args:
        file: CSV or TSV, plain or gzip.
        separator: between the columns; None finds it out.
        names: of the columns of a file without a header line.
        encoding: of the file.
        quoting: whether `"` protects separators and line ends.

    Raises:
        InputError: the file is missing, empty or cannot be read as columns.
    """
    text = look(file, separator=separator, names=names, encoding=encoding, quoting=quoting)
    require_columns(str(file), [name for name in text.header if text.header.count(name) > 1], text.header)
    try:
        blocks = list(text.blocks(dict.fromkeys(text.header, pa.string())))
    except SuspectError as error:
        raise InputError(f"{file} cannot be read as columns separated by {text.separator!r}: {error}") from None
    if not sum(map(len, blocks)):
        raise InputError(f"{file} holds no rows.")
    frame: pd.DataFrame = pa.Table.from_batches(blocks).to_pandas()
    return frame


def empty(name: str) -> pd.DataFrame:
    """A table of attributes without rows or columns, for ids of which nothing is known."""
    return pd.DataFrame(index=pd.Index([], dtype=str, name=name))


def _frame(
    table: File | pd.DataFrame, separator: str | None, names: Sequence[str] | None, encoding: str, quoting: bool
) -> pd.DataFrame:
    """The columns of a table, under the names that it gives them."""
    if isinstance(table, pd.DataFrame):
        return table.set_axis([str(name) for name in table.columns], axis=1)
    if table.name.endswith((".parquet", ".pq")):
        frame: pd.DataFrame = pq.read_table(str(table)).to_pandas()
        return frame
    return read_text(table, separator, names, encoding, quoting)


def _first_of_each(where: str, table: pd.DataFrame) -> pd.DataFrame:
    """The first row of each id; a warning counts the ids that stand in several."""
    repeated = table.index.duplicated()
    if not repeated.any():
        return table
    ids = table.index[repeated]
    warnings.warn(
        f"{where}: {ids.nunique():,} ids stand in several rows, for instance {', '.join(map(repr, ids.unique()[:3]))}; "
        "the first row of each was kept.",
        stacklevel=3,
    )
    return table[~repeated]


def _index(where: str, ids: pd.Series) -> pd.Index:
    column = convert.ids(id_column(ids))
    for mask in column.faults.values():
        rows = np.flatnonzero(mask)
        raise InputError(
            f"{where}: the id column {ids.name!r} is empty in {len(rows):,} rows "
            f"(row {', '.join(str(row + 1) for row in rows[:3])}, counted from 1). Remove them."
        )
    index: pd.Index = pd.Index(column.values.dictionary_decode().to_pandas().astype(str), name=str(ids.name))
    return index


def _column(
    where: str, values: pd.Series, separator: str | None, json: bool, loose: bool, number: bool, date: bool
) -> pd.Series:
    """One column as `read_attributes` was told to read it; `separator` is that of lists."""
    if date:
        return years(where, values)
    if separator is not None and json:
        return json_lists(where, values, separator)
    if separator is not None:
        return loose_lists(where, values, separator) if loose else split_lists(values, separator)
    if loose:
        return loose_numbers(where, values)
    if number:
        return _numbers(where, values)
    return values if pd.api.types.is_numeric_dtype(values.dtype) else values.fillna("").astype(str)


def _numbers(where: str, values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype("float64")
    texts = values.fillna("").astype(str).str.strip()
    found = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype("float64")
    bad = texts[found.isna() & (texts != "")]
    if len(bad):
        some = ", ".join(f"{value!r} of {name}" for name, value in bad[:3].items())
        raise InputError(f"{where}: column {str(values.name)!r} holds {len(bad):,} values that are no numbers: {some}.")
    return found


def _snake(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"\W+", "_", spaced).strip("_").lower()
