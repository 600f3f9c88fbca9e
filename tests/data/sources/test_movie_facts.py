"""Facts and reviews of films beside their ratings."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.data.sources.movie_facts import join_facts, join_reviews, read_facts, year_of_title
from recsys_lightning.errors import InputError

ITEMS = pd.DataFrame(
    {"title": ["A (1990)", "B"], "year": [1990, float("nan")]}, index=pd.Index(["1", "2"], name="item")
)
LISTS = ("directors", "keywords")


def read(file: Path, text: str) -> pd.DataFrame:
    file.write_text(text, encoding="utf-8")
    return read_facts(file, ["movie_id", "id"], ["overview"], LISTS)


def test_the_columns_that_are_there_are_read(tmp_path: Path) -> None:
    text = 'id,other,budget,directors,release_date\n1,x,0,A|B,1/2/1999\n2,y,-1,"[""C""]",\n3,z,7,,2000-01-01\n'
    found = read(tmp_path / "f.csv", text)
    assert found.columns.tolist() == ["directors", "budget", "year"] and found.index.tolist() == ["1", "2", "3"]
    assert found["directors"].tolist() == [["A", "B"], ["C"], []]
    assert found["budget"].fillna(0).tolist() == [0, 0, 7]
    assert found["year"].fillna(0).tolist() == [1999, 0, 2000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film,budget\n1,2\n", r"f\.csv has no column of ids: movie_id or id\. Columns found: 'film', 'budget'\.$"),
        (
            "id,other\n1,2\n",
            r"f\.csv has none of the columns that are read: overview, directors, keywords, budget.*'other'",
        ),
        ("id,budget\n1,2\n2,much\n", r"f\.csv: column 'budget' holds 1 values that are no numbers: 'much' of 2"),
        (
            'id,keywords\n1,"[""a""]"\n2,"[""a"\n',
            r"f\.csv: the column 'keywords' holds in 1 rows \(row 2, counted from 1\)",
        ),
        ("id,release_date\n1,soon\n", r"f\.csv: the column 'release_date' holds in 1 rows \(row 1, counted from 1\)"),
    ],
)
def test_what_is_wrong_with_facts_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "f.csv", text)


def test_rows_are_those_of_the_file_where_ids_repeat(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 3, counted from 1"):
        read(tmp_path / "f.csv", "id,keywords\n1,a\n1,b\n2,[\n")


def test_facts_join_the_films_and_years_of_titles_stay(tmp_path: Path) -> None:
    text = "movie_id,overview,keywords,runtime,release_date\n2,Text,a|b,90,1/1/2001\n9,Other,c,100,1/1/1950\n"
    found = join_facts(ITEMS, read(tmp_path / "f.csv", text), "f.csv")
    assert found["overview"].tolist() == ["", "Text"] and found["keywords"].tolist() == [[], ["a", "b"]]
    assert found["runtime"].fillna(0).tolist() == [0, 90] and found["year"].tolist() == [1990, 2001]


def test_facts_of_other_films_are_refused(tmp_path: Path) -> None:
    facts = read(tmp_path / "f.csv", "movie_id,runtime\n1.0,90\n")
    with pytest.raises(
        InputError, match=r"f\.csv is about other films.*ids look like '1\.0', those of the data like '1'"
    ):
        join_facts(ITEMS, facts, "f.csv")


@pytest.mark.parametrize("packed", [False, True])
def test_reviews_stand_in_the_order_of_the_file(tmp_path: Path, packed: bool) -> None:
    text = '{"movie_id": 2, "text": "first "}\n\n{"movie_id": "2", "text": "  "}\n{"movie_id": 7, "text": "other"}\n'
    text += '{"movie_id": "2", "text": "first", "rating": 3}\n{"movie_id": 1, "text": "ümläut"}'
    file = tmp_path / "r.jsonl"  # told by its content
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert join_reviews(ITEMS, file)["reviews"].tolist() == [["ümläut"], ["first", "first"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"movie_id": 1, "text": "a"}\n\n{"movie_id": 1,\n', r"r\.jsonl, line 3, is no JSON"),
        (b'{"movie_id": 1, "text": "\xff"}\n', "line 1, is no JSON"),
        (b"[1]\n", "line 1, is no object with movie_id"),
        (b'{"movie_id": 1}\n', "line 1, is no object with movie_id .* and text"),
        (b'{"movie_id": 1.0, "text": "a"}\n', "line 1, is no object with movie_id"),
        (b'{"movie_id": true, "text": "a"}\n', "line 1, is no object with movie_id"),
        (b"\n", "holds no reviews"),
        (b'{"movie_id": 9, "text": "a"}\n', "is about other films: none of its 1 ids"),
        (gzip.compress(b'{"movie_id": 1, "text": "a"}\n' * 50, mtime=0)[:-9], "is cut off or damaged"),
    ],
)
def test_what_is_wrong_with_reviews_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        join_reviews(ITEMS, tmp_path / "r.jsonl")


def test_missing_reviews_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no file .*r\.jsonl"):
        join_reviews(ITEMS, tmp_path / "r.jsonl")


def test_years_stand_at_the_end_of_titles() -> None:
    found = year_of_title(pd.Series(["2001 (1968)", "Heat (1995) ", "1984", "(1990) x"]))
    assert found.fillna(0).tolist() == [1968, 1995, 0, 0]
