from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.behaviour import SHOWN, _some, correlations, groups, lists
from recsys_lightning.reports.run.blocks import Cell, Section, Table, Text
from recsys_lightning.reports.run.values import Values
from tests.reports.run import runs


def found(**parts: Any) -> Values:
    return Values(parts or runs.diagnostics(), Path("diagnostics.json"))


def tables(section: Section | None) -> list[Table]:
    assert section is not None
    return [block for panel in section.panels for block in panel.blocks if isinstance(block, Table)]


def texts(section: Section | None) -> str:
    assert section is not None
    return " ".join(block.text for panel in section.panels for block in panel.blocks if isinstance(block, Text))


def test_groups_have_a_panel_for_each_kind() -> None:
    items, users = tables(groups(found()))
    assert items.header == ["item popularity", "users", "held out", "recall@5", "95 % interval"]
    assert items.rows[3][:4] == ["21 and more", 1071, 2345, 1.7 * 0.191]
    assert users.header[-1] == "ndcg@5" and users.rows[0][-1] == 0.101


def test_of_a_kind_that_comes_twice_the_first_is_shown() -> None:
    own = found(buckets=[runs.bucket("user activity", "1 to 3", 0.25), runs.bucket("genre", "Drama", 0.5)])
    both = tables(groups(own, found()))
    assert [table.header[0] for table in both] == ["user activity", "genre", "item popularity"]
    assert both[0].rows == tables(groups(own))[0].rows and groups(found(norms={}), found(norms={})) is None


def test_it_is_said_under_a_table_whom_its_groups_leave_out() -> None:
    kinds = ("days", "genre")
    buckets = [runs.bucket(kind, "1", 0.25) for kind in kinds]
    section = groups(found(buckets=buckets, left_out=[{"of": "days", "text": "8 of 9 users."}]))
    assert section is not None
    last = [panel.blocks[-1] for panel in section.panels]
    assert last[0] == Text("8 of 9 users.") and isinstance(last[1], Table)


def test_lists_show_hits_and_what_they_share() -> None:
    ratios, first, second = tables(lists(found()))
    assert ratios.rows[1] == ("author", pytest.approx(0.21), pytest.approx(0.01), 1300)
    assert [row[2] for row in first.rows] == ["hit", "", "", "", ""] and second.rows[3][2] == "hit"
    assert first.rows[0][1] == Cell(
        "The Fellowship of the Ring (The Lord of the Rings, #1)", "(genre: fantasy, classics; author: J.R.R. Tolkien)"
    )
    assert first.rows[1][1].text == runs.EVIL  # type: ignore[attr-defined]
    said = texts(lists(found()))
    assert "and 7 more" in said and "genre 80%, author 20%" in said and "`" not in said


def test_the_strongest_correlations_come_first_and_the_rest_is_counted() -> None:
    (table,) = tables(correlations(found(correlations=runs.correlations(26)[::-1])))
    assert len(table.rows) == SHOWN
    assert [row[0] for row in table.rows[:2]] == ["average_rating", "log rating_number"]
    assert table.rows[0][1:3] == ("+0.310", "+0.250 to +0.370") and table.rows[0][-1] == "yes"
    said = texts(correlations(found(correlations=runs.correlations(26))))
    assert "11 of 26 features hold at 0.05" in said and "6 weaker ones" in said and "permuted" not in said
    assert "Of 26 permuted ones 1 do." in texts(correlations(found()))


def test_it_is_said_what_is_drawn_and_exchanged() -> None:
    section = correlations(found())
    assert section is not None and "draw users and items" in section.about and "exchanges of features" in section.about
    (table,) = tables(section)
    assert list(table.header)[3:6] == ["p (pairs)", "p", "q"]


def test_what_has_no_value_is_a_gap() -> None:
    bare = {"feature": "x", "r": 0.5, "p": None}
    (table,) = tables(correlations(found(correlations=[bare, {"feature": "constant", "r": None}])))
    assert table.rows == [("x", "+0.500", "", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH}", "")]
    assert tables(groups(found(buckets=[{"of": "user activity", "name": "all"}])))[0].rows[0][3] is None
    assert tables(lists(found(samples=[{"user": "1"}])))[0].rows == []
    assert tables(lists(found(hit_ratios={"genre": {}})))[0].rows == [("genre", None, None, None)]


@pytest.mark.parametrize("part", ["buckets", "samples", "correlations"])
def test_what_is_of_another_kind_is_named(part: str) -> None:
    with pytest.raises(InputError, match=part):
        for make in (groups, lists, correlations):
            make(found(**{part: [3]}))


def test_shared_values_beyond_a_few_are_counted() -> None:
    assert _some(["a", "b", "c", "d"]) == "a, b, c, d"
    assert _some(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"
