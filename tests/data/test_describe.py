"""Cards of data sets as text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from recsys_lightning.data.describe import catalogue, describe
from recsys_lightning.data.reading.tables import Columns
from recsys_lightning.data.sources import DATA_SETS, GraphReady, MovieTweetings, Table

SAMPLE = Path(__file__).parents[2] / "data"


def test_card_of_the_embedded_sample() -> None:
    text = describe(MovieTweetings(SAMPLE))
    for fact in ("66,519", "4,271 (5 to", "2,301 (5 to", "0.6769%", "2013-02-28 to 2013-09-01", "MIT", "CC0"):
        assert fact in text
    [writers] = [line for line in text.splitlines() if "writers -> writer" in line]
    assert writers.split()[3:5] == ["94.4%", "2,258"]
    assert "cast -> actor if asked" in text and "countries -> country if asked" in text
    assert max(map(len, text.splitlines())) <= 100


def test_card_without_files_says_where_to_get_them(tmp_path: Path) -> None:
    text = describe(MovieTweetings(tmp_path, variant="raw"))
    assert "ratings.dat, not there" in text
    assert "https://github.com/sidooms/MovieTweetings/archive" in text.replace("\n  ", "")
    assert "interactions    " not in text


def test_card_of_repeated_rows_domains_and_many_ratings() -> None:
    frame = pd.DataFrame(
        {
            "user": ["a"] * 20 + ["b"] * 2,
            "item": [f"i{n}" for n in range(20)] + ["i0", "i0"],
            "rating": [n / 4 for n in range(22)],
            "kind": ["even", "odd"] * 10 + ["even"] * 2,
        }
    )
    text = describe(Table(Path(), frame, Columns("user", "item", rating="rating", domain="kind")))
    assert "1 rows repeat a pair of user and item; 21 distinct pairs" in text
    assert "22 distinct values, mean 2.62" in text
    assert "domain odd      10 interactions, 1 users, 10 items, density 100.0000%" in text
    assert "shared users    1 have interactions in more than one domain (50.0% of all)" in text
    assert "users by domain 1 in even and odd, 1 in even only" in text
    assert "none, and no order" in text


def test_catalogue_has_a_line_per_data_set() -> None:
    lines = catalogue(SAMPLE).splitlines()
    assert len(lines) == len(DATA_SETS) + 1
    assert next(line for line in lines if line.startswith("movietweetings ")).split()[1] == "yes"
    assert next(line for line in lines if line.startswith("ml-100k ")).split()[1] == "no"


def test_card_names_files_in_folders_and_elsewhere(tmp_path: Path) -> None:
    source = GraphReady(tmp_path)
    source.path("nodes").mkdir(parents=True)
    source.path("nodes/genres.csv").write_text("id,name\n1,x\n")
    text = describe(source)
    assert "nodes/genres.csv, 12 bytes: id, name; optional" in text
    assert "u1.base, not there" in text and "nodes/writers.csv, not there" in text


def test_texts_of_several_lines_take_one(tmp_path: Path) -> None:
    rows = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
    items = pd.DataFrame({"overview": ["one\ntwo", "x" * 500]}, index=["x", "y"])
    lines = describe(Table(Path(), rows, Columns("user", "item"), items=items)).splitlines()
    assert any("one two, xxx" in line for line in lines) and max(map(len, lines)) <= 100
