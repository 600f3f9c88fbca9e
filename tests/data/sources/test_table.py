"""Your own tables: files and DataFrames, with attributes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.sources import Attributes, Table
from recsys_lightning.errors import InputError

COLUMNS = Columns("who", "what", rating="stars")
ITEMS = Attributes("films.tsv", "film", {"name": "title", "kinds": "genres"}, {"genres": "/"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text("who;what;stars\na;01;5\nb;02;x\n")
    (tmp_path / "films.tsv").write_text("film\tname\tkinds\n01\tUp\tDrama/Comedy\n")
    (tmp_path / "people.csv").write_text("who,age\na,31\n")
    return tmp_path


def test_files_with_attributes(root: Path) -> None:
    source = Table(
        root,
        "log.csv",
        COLUMNS,
        name="mine",
        on_bad="drop",
        items=ITEMS,
        users=Attributes("people.csv", "who", numbers=["age"]),
        item_type="film",
        attributes={"genres": "genre"},
    )
    assert [file.name for file in source.files()] == ["log.csv", "films.tsv", "people.csv"]
    with pytest.warns(UserWarning, match="1 of 2 rows"):
        raw = source.read()
    assert raw.interactions.item_ids.to_pylist() == ["01"]
    assert raw.items.loc["01"].to_dict() == {"title": "Up", "genres": ["Drama", "Comedy"]}
    assert raw.users.loc["a", "age"] == 31
    assert (source.name, source.item_type) == ("mine", "film")


def test_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1, 2], "what": ["x", "y"]})
    items = pd.DataFrame({"title": ["X", "Y"], "genres": [["a"], []], "year": [1999, None]}, index=["x", "y"])
    source = Table(tmp_path, frame, Columns("who", "what"), items=items, attributes={"genres": "genre"})
    raw = source.read()
    assert source.files() == []
    assert raw.items["genres"].to_dict() == {"x": ["a"], "y": []}
    assert raw.items.loc["x", "year"] == 1999
    assert raw.interactions.user_ids.to_pylist() == ["1", "2"]


def test_options_follow_the_content_of_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1, 2], "what": ["x", "y"]})
    columns = Columns("who", "what")
    same, other = Table(tmp_path, frame.copy(), columns), Table(tmp_path, frame.assign(what=["x", "z"]), columns)
    assert Table(tmp_path, frame, columns).options() == same.options() != other.options()
    assert Table(tmp_path, "a.csv", columns).options() != Table(tmp_path, "a.csv", columns, separator=";").options()


def test_attribute_that_is_no_column_is_an_error(root: Path) -> None:
    frame = pd.DataFrame({"who": ["a"], "what": ["01"]})
    with pytest.raises(InputError, match=r"names tags, which .* Its columns: title, genres"):
        Table(root, frame, Columns("who", "what"), items=ITEMS, attributes={"tags": "tag"}).read()


def test_missing_file_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"log\.csv is missing in"):
        Table(tmp_path, "log.csv", COLUMNS).read()
