from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_lightning.data.vector_file import read_vectors, require_distinct
from recsys_lightning.errors import InputError

NAN = float("nan")


def write(folder: Path, ids: list[object], rows: object, kind: pa.DataType | None = None) -> Path:
    file = folder / "vectors.parquet"
    pq.write_table(pa.table({"item_id": pa.array(ids), "vector": pa.array(rows, kind), "more": ids}), file)
    return file


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2)])
def test_rows_stay_in_order(tmp_path: Path, kind: pa.DataType) -> None:
    ids, matrix = read_vectors(write(tmp_path, ["b", "a"], [[1.0, 2.0], [0.0, 0.0]], kind))
    assert list(ids) == ["b", "a"] and matrix.tolist() == [[1, 2], [0, 0]]


def test_ids_may_be_integers(tmp_path: Path) -> None:
    ids, matrix = read_vectors(write(tmp_path, [10, 2], [[1], [3]]))
    assert list(ids) == ["10", "2"] and matrix.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (["m1", "m1"], [[1.0], [2.0]], "1 items in several rows, for instance 'm1'"),
        (["m1", "m2"], [[1.0], [2.0, 3.0]], "vectors have 1, 2 numbers; all must be equally long"),
        (["m1", "m2"], [[1.0], None], "vectors have 0, 1 numbers"),
        (["m1"], [[]], "none empty"),
        (["m1", "m2", "m3"], [[1.0], [NAN], [float("inf")]], "2 vectors hold .* no finite numbers, first that of 'm2'"),
        (["m1", "m2"], [[1.0], [None]], "1 vectors hold values that are no finite numbers, first that of 'm2'"),
        (["m1"], ["text"], "the column vector holds string; each of its rows must be a list of numbers"),
        (["m1"], [["text"]], "each of its rows must be a list of numbers"),
        ([1.5], [[1.0]], "Ids must be strings or integers"),
    ],
)
def test_wrong_vectors_are_refused(tmp_path: Path, ids: list[object], rows: list[object], message: str) -> None:
    kind = pa.list_(pa.float64()) if rows == [[]] else None
    with pytest.raises(InputError, match=message):
        read_vectors(write(tmp_path, ids, rows, kind))


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "vectors.parquet"
    with pytest.raises(InputError, match=r"There is no file .*vectors\.parquet"):
        read_vectors(file)
    file.write_text("item_id,vector\n")
    with pytest.raises(InputError, match="is no Parquet file, or is cut off"):
        read_vectors(file)
    pq.write_table(pa.table({"id": ["m1"], "vector": [[1.0]]}), file)
    with pytest.raises(InputError, match=r"has no column 'item_id'\. Columns found: 'id', 'vector'"):
        read_vectors(file)
    pq.write_table(
        pa.table({"item_id": pa.array([], pa.string()), "vector": pa.array([], pa.list_(pa.float32()))}), file
    )
    with pytest.raises(InputError, match="holds no rows"):
        read_vectors(file)


def test_distinct_ids_pass() -> None:
    require_distinct(Path("x"), pd.Index(["a", "b"]))
    with pytest.raises(InputError, match="x has 2 items in several rows, for instance 'b'"):
        require_distinct(Path("x"), pd.Index(["a", "b", "b", "c", "c", "c"]))
