"""Numbers and lists as shops write them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.reading.loose import loose_list, loose_number

NAMES = st.lists(st.text(alphabet="abXY é'\"\\,[{", min_size=1, max_size=8), max_size=6)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12.99", 12.99),
        ("$12.99", 12.99),
        ("from 4.99", 4.99),
        ("From $4.99", 4.99),
        ("12,99", 12.99),
        ("€ 12,99", 12.99),
        ("12.99 EUR", 12.99),
        ("$10.00 - $20.00", 10),
        ("1,234", 1234),
        ("1,234,567.5", 1234567.5),
        ("1.234,56", 1234.56),
        ("1.234.567", 1234567),
        ("1.234", 1.234),
        ("1'234.5", 1234.5),
        ("1\u202f234", 1234),
        ("-750.0", -750),
        ("1e3", 1000),
        (" 7 ", 7),
        (7, 7),
        (np.float32(0.5), 0.5),
    ],
)
def test_numbers(cell: object, value: float) -> None:
    assert loose_number(cell) == pytest.approx(value)


@pytest.mark.parametrize("cell", ["", "  ", "—", "-", "None", "nan", "N/A", None, float("nan")])
def test_nothing_known(cell: object) -> None:
    assert loose_number(cell) is None
    assert loose_list(cell, ",") == []


@pytest.mark.parametrize(
    "cell", ["free", "1,2345", "12.99.1", "1 234", "inf", "1e999", "٣", "12 pages", True, 10**400, [1], float("inf")]
)
def test_what_is_no_number(cell: object) -> None:
    with pytest.raises(ValueError):
        loose_number(cell)


@pytest.mark.parametrize("cell", ["from  4.99", "$ 10.00\t-\n$20.00", "from\n€  3  to  € 4"])
def test_runs_of_spaces_count_as_one(cell: str) -> None:
    assert loose_number(cell) == float(re.sub("[^0-9.]", " ", cell).split()[0])


@pytest.mark.parametrize("space", [" ", "\t", "\n"])
def test_what_is_no_number_is_refused_at_once(space: str) -> None:
    gap = space * 1200
    start = time.perf_counter()
    for cell in (f"from{gap}1{gap}-{gap}2{gap}x", f"1{gap}{gap}x", "1" * 4900 + "x", "1.1e1-" * 800):
        with pytest.raises(ValueError):
            loose_number(cell)
    assert time.perf_counter() - start < 0.5


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_python_are_read_as_they_are(value: float) -> None:
    assert loose_number(repr(value)) == value


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        found = loose_number(text)
    except ValueError:
        return
    assert found is None or np.isfinite(found)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("Ursula K. Le Guin", ["Ursula K. Le Guin"]),
        ("a, b ,a,", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("['Books', 'Fiction']", ["Books", "Fiction"]),
        ("['Tolkien (Ed.)', \"O'Brien\", None]", ["Tolkien (Ed.)", "O'Brien"]),
        ('{"avatar": "x.jpg", "name": "J. Doe", "about": ["long"]}', ["J. Doe"]),
        ("{'name': 'J. Doe', 'about': []}", ["J. Doe"]),
        ('[{"id": 3, "name": "a, b"}, {"name": "c"}]', ["a, b", "c"]),
        ("[['Books', 'X'], ['Books', 'Y']]", ["Books", "X", "Y"]),
        ("[1, 2]", ["1", "2"]),
        ("[]", []),
        (["a", " b\n c "], ["a", "b c"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        ({"name": "a"}, ["a"]),
        (["a", None, float("nan"), "None"], ["a"]),
    ],
)
def test_lists(cell: object, names: list[str]) -> None:
    assert loose_list(cell, ",") == names


@pytest.mark.parametrize(
    "cell",
    ["[a, b]", "['a'", '{"id": 3}', "[True]", "[1.5]", "['a' + 'b']", "[f()]", "[" + "-" * 9999 + "1]", "[" * 9999],
)
def test_what_is_no_list(cell: str) -> None:
    with pytest.raises(ValueError):
        loose_list(cell, ",")


@given(NAMES)
def test_both_writings_of_a_list_say_the_same(names: list[str]) -> None:
    said = loose_list(names, ",")
    assert loose_list(json.dumps(names), ",") == loose_list(repr(names), ",") == said


@given(st.text(alphabet="[]{}()'\",: ab1.-None\\", max_size=40))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        found = loose_list(text, ",")
    except ValueError:
        return
    assert all(word == word.strip() and word for word in found)


def test_a_server_reads_alike_without_pandas() -> None:
    told = "import sys, recsys_lightning.data.reading.loose; print(*{'torch', 'pandas', 'numpy'} & set(sys.modules))"
    assert not subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.strip()
