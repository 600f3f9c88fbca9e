from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.reading.cells import clean, json_lists, loose_lists, loose_numbers, years
from recsys_lightning.errors import InputError


def column(*cells: str | None) -> pd.Series:
    return pd.Series(cells, name="keywords", dtype=object)


def test_lists_are_json_or_separated() -> None:
    found = json_lists("t.csv", column('["a", " b ", "a", ""]', "a| b |a", "[1, 20]", "[]", "", None, "one"), "|")
    assert found.tolist() == [["a", "b"], ["a", "b"], ["1", "20"], [], [], [], ["one"]]


def test_objects_are_known_by_their_names() -> None:
    assert json_lists("t.csv", column('[{"id": 3, "name": "x|y"}, {"name": "z"}]'), "|").tolist() == [["x|y", "z"]]


@pytest.mark.parametrize("cell", ["[1, 2", "['a']", '[{"id": 1}]', "[true]", "[1.5]", "[null]", "[[1]]", "[REC]"])
def test_malformed_lists_are_named_by_row(cell: str) -> None:
    with pytest.raises(InputError, match=r"t\.csv: the column 'keywords' holds in 2 rows \(row 2, 4, counted from 1\)"):
        json_lists("t.csv", column("a", cell, "[]", cell), "|")


def test_only_the_first_rows_are_named() -> None:
    with pytest.raises(InputError, match=r"in 5 rows \(row 1, 2, 3, \.\.\., counted from 1\).*: \[x{56}\.\.\.\. Mend"):
        json_lists("t.csv", column(*["[" + "x" * 100] * 5), "|")


def test_years_of_both_forms_of_dates() -> None:
    found = years("t.csv", column("10/30/1995", "2011-02-16", "", " 1/1/1922 ", None, "1999-01-02 00:00:00"))
    assert found.fillna(0).tolist() == [1995, 2011, 0, 1922, 0, 1999] and found.dtype == np.float64


@pytest.mark.parametrize("cell", ["30.10.1995", "10/30/95", "1995", "soon", "1995-10-30x"])
def test_other_dates_are_named_by_row(cell: str) -> None:
    with pytest.raises(InputError, match=r"in 1 rows \(row 2, counted from 1\).*a date such as 1995-10-30 or 10/30"):
        years("t.csv", column("1/1/2000", cell))


def test_halves_of_characters_are_replaced() -> None:
    assert clean(" a\ud83d ") == "a?"


def test_loose_cells_that_cannot_be_read_are_unknown_and_counted() -> None:
    cells = column("$1.50", "", "free", "gratis", "soon", "never", None).set_axis(list("abcdefg"))
    told = r"t\.csv: the column 'keywords' holds 4 values that are no numbers and count as unknown: 'free' of c, 'grat"
    with pytest.warns(UserWarning, match=told + r"is' of d, 'soon' of e and others\."):
        found = loose_numbers("t.csv", cells)
    assert found["a"] == 1.5 and found.isna().sum() == 6 and found.dtype == np.float64
    with pytest.warns(UserWarning, match=r"holds 1 values that are no lists and count as unknown: '\[x' of 1\."):
        assert loose_lists("t.csv", column("['a']", "[x", "b|c"), "|").tolist() == [["a"], [], ["b", "c"]]
