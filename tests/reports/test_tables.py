from __future__ import annotations

import pytest

from recsys_lightning.reports.tables import DASH, markdown_table, number, text_table

HEADER = ["model", "ndcg_10", "users"]
ROWS = [["EASE", 0.28456, 6040], ["popularity", 0.1, 40], ["broken", float("nan"), None]]


def test_text_is_aligned_and_marks_the_best() -> None:
    assert text_table(HEADER, ROWS, best=["ndcg_10"]).splitlines() == [
        "model       ndcg_10  users",
        "----------  -------  -----",
        "EASE        0.2846*  6,040",
        "popularity  0.1000      40",
        f"broken           {DASH}       {DASH}",
    ]


def test_markdown_is_the_same_table() -> None:
    assert markdown_table(HEADER, ROWS, best={"ndcg_10"}).splitlines() == [
        "| model | ndcg_10 | users |",
        "| --- | ---: | ---: |",
        "| EASE | **0.2846** | 6,040 |",
        "| popularity | 0.1000 | 40 |",
        f"| broken | {DASH} | {DASH} |",
    ]


def test_winners_that_print_alike_are_all_marked() -> None:
    table = markdown_table(["a"], [[0.50001], [0.50002], [0.4]], best=["a"])
    assert table.count("**0.5000**") == 2
    assert "**0.4" not in table


def test_a_pipe_in_a_title_does_not_break_the_row() -> None:
    assert markdown_table(["title"], [["Face|Off\n1997"]]).splitlines()[-1] == r"| Face\|Off 1997 |"


def test_tables_without_rows_or_numbers() -> None:
    assert text_table(["a", "b"], []).splitlines() == ["a  b", "-  -"]
    assert markdown_table(["a"], [[None]], best=["a"]).splitlines()[-1] == f"| {DASH} |"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1,234,567"), (-0.5, "-0.5000"), (2.0, "2.0000"), ("x", "x"), (float("inf"), "inf"), (None, DASH)],
)
def test_number(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize("row", [[1], [1, 2, 3]])
def test_ragged_rows_are_refused(row: list[object]) -> None:
    with pytest.raises((ValueError, IndexError)):
        text_table(["a", "b"], [row])
