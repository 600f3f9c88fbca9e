from __future__ import annotations

from recsys_lightning.reports.run.blocks import Cell, Listing, Page, Panel, Points, Remark, Section, Table, Text
from recsys_lightning.reports.run.markdown import page_markdown
from tests.reports.run.runs import EVIL


def test_the_page_as_a_whole() -> None:
    table = Table(["model", "ndcg@5", "k = 1"], [["hit_rate", 0.25, Cell("1", "[0, 2]")], ["b", 0.5, None]], ["ndcg@5"])
    sections = [
        Section(
            "One", [Panel("First", [table, Points(["a `b`", "c"])]), Panel("Empty", [Listing("x", "y")])], "About."
        ),
        Section("Nothing", [Panel("", [Listing("x", "y")])]),
    ]
    page = Page("MF on a_b", [Remark("UNDER", True), Remark("note", False), Text("`code_x <i>` and <b>")], sections)
    assert page_markdown(page) == (
        "# MF on a_b\n\n**UNDER**\n\nnote\n\n`code_x <i>` and \\<b\\>\n\n## One\n\nAbout.\n\n### First\n\n"
        "| model | ndcg@5 | k = 1 |\n| --- | ---: | --- |\n| hit_rate | 0.2500 | 1 \\[0, 2\\] |\n"
        "| b | **0.5000** | \N{EN DASH} |\n\n- a `b`\n- c\n"
    )


def test_names_from_the_data_are_taken_as_they_are() -> None:
    table = Table(["_x_", "_x_"], [[EVIL, "a\nb"]])
    line = page_markdown(Page(EVIL, [], [Section("S", [Panel("", [table])])])).splitlines()[-1]
    assert line.startswith('| \\<script\\>alert("1")\\</script\\> & \\*Co\\* \\| \\`x\\` $y$ \\<br\\> | a b |')


def test_columns_of_one_name_stay_apart() -> None:
    text = page_markdown(Page("t", [], [Section("S", [Panel("", [Table(["", ""], [["a", "b"]])])])]))
    assert text.endswith("|  |  |\n| --- | --- |\n| a | b |\n")
