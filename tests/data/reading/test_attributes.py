"""Attribute tables: lists, numbers, repeated and empty ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.reading.attributes import collect, empty, read_attributes, split_lists
from recsys_lightning.errors import InputError

TEXT = 'id,FilmTitle,Genre,Year\n001,"Up, ""Again""",Drama|Comedy | |Drama,1999\nNA,"two\nlines",,\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "films.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_lists_numbers_and_quoted_line_ends(tmp_path: Path) -> None:
    rename = {"FilmTitle": "title", "Genre": "genres", "Year": "year"}
    found = read_attributes(write(tmp_path, TEXT), "id", rename=rename, lists={"genres": "|"}, numbers=["year"])
    assert found.index.tolist() == ["001", "NA"]
    assert found["title"].tolist() == ['Up, "Again"', "two\nlines"]
    assert found["genres"].tolist() == [["Drama", "Comedy"], []]
    assert found["year"].iloc[0] == 1999 and np.isnan(found["year"].iloc[1])


def test_all_columns_in_snake_case(tmp_path: Path) -> None:
    assert read_attributes(write(tmp_path, TEXT), "id").columns.tolist() == ["film_title", "genre", "year"]


def test_first_row_of_a_repeated_id_is_kept_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "id,name\na,first\nb,other\na,second\n")
    with pytest.warns(UserWarning, match="1 ids stand in several rows, for instance 'a'"):
        found = read_attributes(path, "id")
    assert found["name"].to_dict() == {"a": "first", "b": "other"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,year\n,1\nb,2\n", r"id column 'id' is empty in 1 rows \(row 1"),
        ("id,year\na,1\nb,soon\n", r"column 'year' holds 1 values that are no numbers: 'soon' of b"),
        ("id,year\n", "holds no rows"),
        ("key,year\na,1\n", "no column 'id'"),
        ("id,year\na,1,2\n", "cannot be read as columns separated by ','"),
        ("id,year,year\na,1,2\n", "more than one column 'year'"),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_attributes(write(tmp_path, text), "id", rename={"year": "year"}, numbers=["year"])


def test_lists_and_numbers_must_be_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gives no column actors, jahr"):
        read_attributes(write(tmp_path, TEXT), "id", lists={"actors": "|"}, numbers=["jahr"])


def test_frames_and_parquet_keep_lists_and_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [7, 8], "tags": [["b", "a"], []], "size": [1.5, 2], "name": ["x", None]})
    path = tmp_path / "films.parquet"
    frame.to_parquet(path)
    for table in (frame, path):
        found = read_attributes(table, "id", lists={"tags": ""})
        assert found.index.tolist() == ["7", "8"]
        assert found["tags"].tolist() == [["b", "a"], []]
        assert found["size"].tolist() == [1.5, 2.0]
        assert found["name"].tolist() == ["x", ""]


def test_split_lists_of_texts() -> None:
    found = split_lists(pd.Series(["a, b,a", None, " , "], index=["x", "y", "z"]), ", ")
    assert found.to_dict() == {"x": ["a", "b"], "y": [], "z": []}


def test_collect_keeps_order_and_empty_rows() -> None:
    found = collect(pd.Series([1, 1, 1, 3]), pd.Series(["b", "a", "b", "c"]), pd.Index(list("wxyz")))
    assert found.to_dict() == {"w": [], "x": ["b", "a"], "y": [], "z": ["c"]}


def test_empty_has_string_ids() -> None:
    assert len(empty("item").reindex(["a"])) == 1
    assert empty("item").index.name == "item"


def test_json_lists_and_dates(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,tags,when\na,"[""x|y""]",1/2/1999\nb,x|y,\n')
    rename = {"tags": "tags", "when": "year"}
    found = read_attributes(path, "id", rename=rename, lists={"tags": "|"}, json=["tags"], dates=["year"])
    assert found["tags"].tolist() == [["x|y"], ["x", "y"]] and found["year"].fillna(0).tolist() == [1999, 0]
    plain = read_attributes(path, "id", rename=rename, lists={"tags": "|"})
    assert plain["tags"].tolist() == [['["x', 'y"]'], ["x", "y"]]


def test_loose_lists_and_numbers_of_files_and_parquet(tmp_path: Path) -> None:
    path = write(tmp_path, "id,tags,price\na,\"['x', 'y']\",$1.50\nb,y,\n")
    pd.DataFrame({"id": ["a", "b"], "tags": [["x", "y"], ["y"]], "price": ["$1.50", None]}).to_parquet(
        tmp_path / "films.parquet"
    )
    for file in (path, tmp_path / "films.parquet"):
        found = read_attributes(file, "id", lists={"tags": ","}, numbers=["price"], loose=["tags", "price"])
        assert found["tags"].tolist() == [["x", "y"], ["y"]] and found["price"].fillna(0).tolist() == [1.5, 0]
