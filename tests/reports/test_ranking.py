from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from recsys_lightning.data.audit.future import Future
from recsys_lightning.data.filters import Step
from recsys_lightning.reports.domains import ALL, Group
from recsys_lightning.reports.floors import Floor
from recsys_lightning.reports.ranking import LISTED, RankingReport, comparison, floor_table
from recsys_lightning.reports.tables import DASH
from tests.worlds import schema


def metrics(ndcg: float, **others: float) -> dict[str, float]:
    """What a test at one cut-off has."""
    return {
        "recall_5": 0.5,
        "ndcg_5": ndcg,
        "mrr_5": 0.4,
        "hit_rate_5": 0.6,
        "coverage_5": 0.3,
        "users": 1234.0,
    } | others


REPORT = RankingReport(
    model="LightGCN",
    data="world",
    split="random, val 0.1, test 0.1",
    fingerprint="0123456789abcdef" * 4,
    k=(5,),
    steps=(Step("read", 9000, 1300, 70), Step("duplicates", 8990, 1300, 70, "10 repeated pairs dropped")),
    results={f"test/{name}": value for name, value in metrics(0.3, map_5=0.123456).items()},
    floors=(Floor("Popularity", test=metrics(0.1), seconds=0.01), Floor("EASE", {"l": 5.0}, True, metrics(0.25))),
    seconds=2.5,
    looked_at_test=False,
    visible="train",
    held_out=0,
    future=Future(tests=100, history=0.25, items=0.031),
)


def remarks(report: RankingReport) -> str:
    """The table ends with them."""
    said = [remark.text for remark in report.remarks()]
    assert report.table().splitlines()[-len(said) or None :] == (said or report.table().splitlines())
    return "\n".join(said)


def test_a_model_above_all_floors_needs_no_remark() -> None:
    assert remarks(REPORT) == ""


def test_a_model_under_a_floor_is_marked_with_the_better_ones() -> None:
    better = Floor("EASE", {"l": 5.0}, True, metrics(0.31))
    report = replace(REPORT, floors=(REPORT.floors[0], better))
    assert remarks(report) == "UNDER THE FLOOR: LightGCN has ndcg_5 0.3000; better are EASE (0.3100)."
    assert "0.3100*" in report.table() and report.remarks()[0].grave


def test_as_good_as_a_floor_is_not_under_it() -> None:
    assert "UNDER" not in remarks(replace(REPORT, floors=(Floor("EASE", test=metrics(0.3)),)))


def test_without_floors_it_says_how_to_get_them() -> None:
    assert remarks(replace(REPORT, floors=())).startswith("No floors are known for this split yet: `recsys floors`")


def test_floors_with_default_options_are_marked() -> None:
    untuned = Floor("EASE", {"l": 5.0}, tuned=False, test=metrics(0.2))
    assert remarks(replace(REPORT, floors=(untuned,))) == "Not tuned, as there are no val rows: EASE."


def test_a_missing_floor_is_listed_with_the_reason() -> None:
    report = replace(REPORT, floors=(*REPORT.floors, Floor("GFCF", note="it needs 9 GB and 4 are free.")))
    assert remarks(report) == "GFCF is missing: it needs 9 GB and 4 are free."
    assert "GFCF" in [row[0] for row in report.comparison()[1]]


def test_numbers_that_select_on_test_are_watermarked() -> None:
    assert remarks(replace(REPORT, looked_at_test=True)).startswith("WATERMARK: test was looked at before")


def test_a_floor_that_is_tested_itself_stands_once() -> None:
    report = replace(REPORT, model="EASE")
    assert report.table().count("EASE") == 1 and "0.3000" in report.table() and "0.2500" not in report.table()


def test_the_table_says_what_it_was_measured_on() -> None:
    lines = REPORT.table().splitlines()
    assert lines[0] == "world, random, val 0.1, test 0.1, 1,234 users, full ranking"
    assert lines[2].split() == ["model", *(f"{name}@5" for name in LISTED), "users", "test", "s"]
    assert lines[4].split()[0] == "LightGCN" and lines[4].split()[-2:] == ["1,234", "2.5000"]


def test_grave_remarks_come_first() -> None:
    report = replace(REPORT, floors=(), looked_at_test=True, held_out=2000)
    assert [remark.grave for remark in report.remarks()] == [True, True, False]
    assert remarks(report).splitlines()[0].startswith("PARTIAL: 1,234 of 2,000 users were tested")


@pytest.mark.parametrize(
    ("future", "sentence"),
    [
        (Future(100, 0.25, 0.031), "Future-item rate 3.1%"),
        (Future(100, 0.25, 0.031), "25.0% of the test interactions are older than some train interaction"),
        (None, "There are no timestamps"),
    ],
)
def test_the_future_is_spoken_of(future: Future | None, sentence: str) -> None:
    assert sentence in replace(REPORT, future=future).about_the_future()


def test_what_was_not_measured_is_a_gap_in_the_comparison() -> None:
    head, rows = comparison([Floor("Popularity"), REPORT.floors[1]], 5)
    assert head[0] == "model" and head[-2:] == ["users", "test s"]
    assert rows[0] == ["Popularity", None, None, None, None, None, None, None]
    assert rows[1][:3] == ["EASE", 0.5, 0.25] and rows[1][-2] == 1234


def test_floors_alone() -> None:
    text = floor_table([*REPORT.floors, Floor("GFCF", note="too large.")], schema(3, 4), 5)
    assert text.splitlines()[0] == "world, none, full ranking"
    assert "0.2500*" in text and text.splitlines()[-1] == "GFCF is missing: too large."


# Several domains


def several(**changes: float) -> dict[str, float]:
    """What a test on two domains has."""
    values = metrics(0.3)
    for name, ndcg, users in (("movie", 0.4, 1200), ("book", 0.2, 34)):
        values |= {f"{key}_{name}": value for key, value in metrics(ndcg, users=users).items()}
    return values | {"ndcg_5_worst": 0.2, "recall_5_worst": 0.5} | changes


DOMAINS = replace(
    REPORT,
    domains=("movie", "book"),
    results={f"test/{name}": value for name, value in several().items()},
    floors=(Floor("EASE", {"l": 5.0}, True, several(ndcg_5=0.25, ndcg_5_movie=0.3, ndcg_5_book=0.21)),),
    groups=[Group("", ALL, 1220, 0.3, 0.28, 0.32), Group("book", "here only", 1, 0.5, -inf, inf)],
    held_out=1234,
)


def test_domains_have_a_table_and_users_by_where_they_are_known() -> None:
    text = DOMAINS.table()
    head = "world, random, val 0.1, test 0.1, 1,200 users in movie and 34 users in book, full ranking"
    assert text.splitlines()[0] == head
    lines = text.split("By domain\n\n")[1].splitlines()
    assert [line.split()[:4] for line in lines[2:6]] == [
        ["movie", "1,200", "0.5000", "0.4000"],
        ["book", "34", "0.5000", "0.2000"],
        ["mean", "1,220", "0.5000", "0.3000"],
        ["worst", DASH, "0.5000", "0.2000"],
    ]
    assert lines[4].endswith("0.2800 to 0.3200")
    assert lines[9].split() == ["book", "here", "only", "1", "0.5000", DASH]


def test_the_comparison_has_columns_of_each_domain() -> None:
    head, (own, floor) = DOMAINS.comparison()
    assert head[6:9] == ["ndcg@5 movie", "ndcg@5 book", "ndcg@5 worst"] and head[-2:] == ["lists", "test s"]
    assert own[6:9] == [0.4, 0.2, 0.2] and floor[6:8] == [0.3, 0.21] and own[-2] == 1234
    assert {"ndcg@5", "ndcg@5 book", "ndcg@5 worst"} <= set(DOMAINS.best)


def test_a_domain_under_the_floor_is_marked_by_itself() -> None:
    first, second = remarks(DOMAINS).splitlines()
    assert first == "UNDER THE FLOOR: LightGCN has ndcg_5_book 0.2000; better are EASE (0.2100)."
    assert second == "Only 34 users were tested in book: differences between models may be chance."


def test_lists_in_all_domains_are_counted_for_what_is_partial() -> None:
    assert "PARTIAL: 1,234 of 1,300 users were tested" in remarks(replace(DOMAINS, held_out=1300))


def test_floors_alone_have_the_columns_of_domains() -> None:
    found = floor_table(DOMAINS.floors, replace(schema(3, 4), domains=("movie", "book")), 5)
    assert "ndcg@5 worst" in found and "0.2100*" in found
