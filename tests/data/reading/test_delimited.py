"""Text files: what is found out about them, and where their lines are."""

from __future__ import annotations

from array import array
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.reading import delimited
from recsys_lightning.data.reading.delimited import look

LINES = ["a,b", "1,2", "", "3,4,5", '"x', "", 'y",6', "7", "8,9"]


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("a.csv", "u,i,note\n1,2,a;b;c\n", ","),
        ("a.csv", "u;i;rating\n1;2;3,5\n4;5;4,5\n", ";"),
        ("a.csv.gz", "u,i\n", ","),
        ("a.tsv", "u\ti\tname, first\n", "\t"),
        ("a.dat", "1::Title: the (1999)::A|B\n2::Other, the (2000)::C\n", "::"),
        ("a.txt", '"u,1" 2\n"v,2,3" 4\n', " "),
        ("a.csv", "only\n", ","),
    ],
)
def test_separator_is_found_out(tmp_path: Path, name: str, text: str, separator: str) -> None:
    (tmp_path / name).write_text(text)
    assert look(tmp_path / name).separator == separator


def test_lines_are_numbered_past_blank_quoted_and_skipped_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(LINES))
    text, skipped = look(path), array("q")
    rows = [row for block in text.blocks({"a": pa.string()}, skipped) for row in block["a"].to_pylist()]
    assert rows == ["1", "x\n\ny", "8"]
    assert text.lines(range(len(rows)), skipped) == [2, 5, 9]
    assert text.physical(skipped) == [4, 8]


@given(size=st.integers(1, 9), text=st.text("ab:", max_size=30))
def test_long_separator_across_chunks(size: int, text: str) -> None:
    stream = delimited._Replaced(pa.BufferReader(text.encode()), b"::", b"\x1f")
    parts = []
    while part := stream.read(size):
        parts.append(part)
    assert b"".join(parts) == text.encode().replace(b"::", b"\x1f")
