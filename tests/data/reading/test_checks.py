from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.data.reading.checks import listing, require_columns, require_file
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
