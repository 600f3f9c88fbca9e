from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_lightning.data.features import Scale, numbers, vectors
from recsys_lightning.errors import InputError

NAN = float("nan")
ITEMS = pd.DataFrame(
    {
        "title": ["a", "b", "c", "d"],
        "year": [1990, 2000, 2010, 5000],
        "meter": [1.0, NAN, 3.0, NAN],
        "late": [1.0, 2.0, 3.0, NAN],
        "same": [7.0, 7.0, 7.0, 8.0],
        "never": [NAN, NAN, NAN, 1.0],
        "wild": [1.0, 2.0, float("inf"), 1.0],
    }
)
KNOWN = np.array([True, True, True, False])
IDS = pa.array(["m1", "m2", "m3", "new"])


def test_numbers_are_z_scores_of_the_items_of_train() -> None:
    found = numbers(ITEMS, ["year"], KNOWN)
    assert found.dtype == np.float32 and found.shape == (4, 1)
    assert found[:, 0] == pytest.approx((np.array([1990, 2000, 2010, 5000]) - 2000) / np.sqrt(200 / 3), rel=1e-6)


def test_a_scale_is_plain_values() -> None:
    scale = Scale.fit(ITEMS["meter"].to_numpy(), KNOWN, "meter", "an.option")
    assert scale == Scale(2.0, 1.0, True) and type(scale.gaps) is bool
    assert Scale(2.0, 1.0, False).columns(np.array([3.0, NAN]))[0].tolist() == [1, 0]
    with pytest.raises(InputError, match=r"an\.option names tiny, which is 0 for every item of train"):
        Scale.fit(np.array([0, 5e-324, 0, 1]), KNOWN, "tiny", "an.option")


def test_a_gap_is_zero_with_a_flag() -> None:
    found = numbers(ITEMS, ["meter", "year"], KNOWN)
    assert found[:, 0].tolist() == [-1, 0, 1, 0] and found[:, 1].tolist() == [0, 1, 0, 1]
    assert found.shape == (4, 3)


def test_a_gap_outside_of_train_makes_no_flag() -> None:
    """G5: an item that train lacks must not change what train sees."""
    found = numbers(ITEMS, ["late"], KNOWN)
    assert found.shape == (4, 1) and found[3, 0] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("titel", "names titel, which is no column of numbers of the items; there are year, meter, late"),
        ("title", "names title, which is no column of numbers"),
        ("yaer", r"Did you mean year\?"),
        ("same", "names same, which is 7 for every item of train: it tells nothing"),
        ("never", "names never, which is unknown for all items of train"),
        ("wild", "names wild, which holds infinite values"),
    ],
)
def test_what_tells_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        numbers(ITEMS, [name], KNOWN)


def write(folder: Path, ids: list[object], rows: object, kind: pa.DataType | None = None) -> Path:
    file = folder / "vectors.parquet"
    pq.write_table(pa.table({"item_id": pa.array(ids), "vector": pa.array(rows, kind)}), file)
    return file


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)])
def test_vectors_have_a_mean_norm_of_one_in_train(tmp_path: Path, kind: pa.DataType) -> None:
    file = write(tmp_path, ["new", "m3", "other", "m1"], [[30.0, 40.0], [0.0, 2.0], [9.0, 9.0], [6.0, 8.0]], kind)
    found = vectors(file, IDS, KNOWN)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[6, 8], [0, 0], [0, 2], [30, 40]]) / 6)


def test_ids_of_a_file_may_be_integers(tmp_path: Path) -> None:
    found = vectors(write(tmp_path, [2, 1], [[1], [3]]), pa.array(["1", "2"]), np.ones(2, bool))
    assert found.tolist() == [[1.5], [0.5]]


def test_items_outside_of_train_change_nothing(tmp_path: Path) -> None:
    one = vectors(write(tmp_path, ["m1", "m2"], [[1.0, 0], [0, 3.0]]), IDS[:3], KNOWN[:3])
    other = vectors(write(tmp_path, ["new", "m1", "m2"], [[9.0, 9.0], [1.0, 0], [0, 3.0]]), IDS, KNOWN)
    assert (one == other[:3]).all()


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (["m1", "m2"], [[1.0], [NAN]], "1 vectors hold values that are no finite numbers, first that of 'm2'"),
        (["m1", "m1"], [[1.0], [2.0]], "1 items in several rows"),  # as of any file of vectors
        (["M1", "new"], [[1.0], [1.0]], "a vector for no item of train: its ids look like 'M1', those .* like 'm1'"),
        (["m1"], [[0.0, 0.0]], "holds vectors of zeros only"),
    ],
)
def test_wrong_vectors_are_refused(tmp_path: Path, ids: list[object], rows: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vectors(write(tmp_path, ids, rows), IDS, KNOWN)
