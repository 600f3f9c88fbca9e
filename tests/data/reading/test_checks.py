from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.reading.checks import (
    listing,
    require_columns,
    require_file,
    require_id_column,
    require_numbers,
)
from recsys_lightning.errors import InputError


def test_a_missing_file_says_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rating.csv").touch()
    require_file(tmp_path / "rating.csv")
    with pytest.raises(InputError, match=r"no file .*ratings\.csv\. Its folder holds: rating\.csv"):
        require_file(tmp_path / "ratings.csv")
    with pytest.raises(InputError, match="is a folder, not a file"):
        require_file(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        require_file(tmp_path / "no" / "ratings.csv")


def test_missing_columns_are_named_with_the_nearest() -> None:
    require_columns("t.csv", ["user"], ["user", "item"])
    with pytest.raises(InputError, match=r"t\.csv has no column 'userid'.*nearest to 'userid' is 'user_id'. Hint"):
        require_columns("t.csv", ["userid"], ["user_id", "item"], " Hint.")
    with pytest.raises(InputError, match="more than one column 'user'"):
        require_columns("t.csv", ["user"], ["user", "user"])


def test_long_listings_are_cut(tmp_path: Path) -> None:
    for number in range(15):
        (tmp_path / f"{number:02d}").touch()
    assert listing(tmp_path).endswith("11 and 3 more")
    (tmp_path / "empty").mkdir()
    assert listing(tmp_path / "empty") == "nothing"


def test_numbers_are_finite_or_unknown() -> None:
    items = pd.DataFrame({"year": [1990, 2000], "meter": [1.0, None], "wild": [1.0, float("inf")], "title": ["a", "b"]})
    assert require_numbers(items, "year", "o").tolist() == [1990, 2000]
    assert np.isnan(require_numbers(items, "meter", "o")).tolist() == [False, True]
    with pytest.raises(InputError, match="o names wild, which holds infinite values"):
        require_numbers(items, "wild", "o")
    with pytest.raises(
        InputError, match="o names title, which is no column of numbers of the items; there are year, m"
    ):
        require_numbers(items, "title", "o")
    with pytest.raises(InputError, match="there are none"):
        require_numbers(items[["title"]], "year", "o")


def test_the_first_column_of_ids_is_taken() -> None:
    assert (
        require_id_column(Path("films.csv"), ("ml_movie_id", "movie_id"), ["movie_id", "ml_movie_id"]) == "ml_movie_id"
    )
    with pytest.raises(InputError, match=r"films\.csv has no column of ids: movie_id\. Columns found: 'film'\."):
        require_id_column(Path("films.csv"), ["movie_id"], ["film"])
