from __future__ import annotations

import re

from recsys_lightning.reports.run.blocks import (
    Cell,
    Listing,
    Page,
    Panel,
    Plot,
    Points,
    Remark,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
)
from recsys_lightning.reports.run.html import page_html
from tests.reports.run.runs import EVIL
from tests.reports.test_explanation_html import Reader


def page(*blocks: object, wide: bool = False) -> str:
    return page_html(Page(EVIL, [], [Section("The section", [Panel("Panel", blocks, wide)], "About.")]))  # type: ignore[arg-type]


def test_every_kind_of_block_is_escaped_and_closed() -> None:
    table = Table([EVIL, "n"], [[EVIL, 1], [Cell(EVIL, EVIL), 2]], ["n"])
    plot = Plot("name", EVIL, lambda name, about: "<svg></svg>", EVIL)
    blocks = (
        Text(EVIL),
        Points([EVIL]),
        Remark(EVIL, True),
        Tiles([Tile(EVIL, EVIL, EVIL)]),
        table,
        plot,
        Listing(EVIL, EVIL),
    )
    text = page(*blocks)
    Reader(text)
    assert "<script" not in text and text.count("&lt;script&gt;") == 15


def test_columns_of_figures_stand_at_the_right() -> None:
    rows: list[list[object]] = [
        ["a", 0.5, "-0.1 to +0.2", "< 0.001", Cell("0.1", "[0, 1]"), None],
        ["b", None, "", "12%", None, "x"],
    ]
    body = re.search(r"<tbody><tr>(.*?)</tr>", page(Table(list("abcdef"), rows)))
    assert body is not None
    assert re.findall(r"<td( class=\"left\")?>", body[1]) == [' class="left"', "", "", "", "", ' class="left"']
    assert "<td>0.1<span>[0, 1]</span></td>" in body[1]


def test_the_largest_of_a_column_is_marked_wherever_it_prints_the_same() -> None:
    text = page(Table(["model", "ndcg"], [["a", 0.50001], ["b", 0.50002], ["c", 0.4], ["d", float("nan")]], ["ndcg"]))
    assert text.count("<b>0.5000</b>") == 2 and text.count("<b>") == 2


def test_wide_panels_with_a_plot_have_two_columns() -> None:
    plot = Plot("name", "about", lambda name, about: "<svg></svg>")
    both = page(plot, Text("words"), Table(["a"], [["b"]]), wide=True)
    assert re.search(r'whole split"><h3>Panel</h3><div><figure>.*?words</p></div><div><div class="wide"><table>', both)
    assert 'class="card whole"' in page(Text("words"), wide=True)


def test_sections_can_be_jumped_to() -> None:
    text = page(Text("words"))
    assert '<a href="#the-section">The section</a>' in text and '<h2 id="the-section">' in text
    assert '<p class="quiet">About.</p>' in text
