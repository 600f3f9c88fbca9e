from __future__ import annotations

from typing import get_args

import pytest

from recsys_lightning.reports.run import blocks
from recsys_lightning.reports.run.html import page_html
from recsys_lightning.reports.run.markdown import page_markdown

ONE_OF_EACH: dict[type, blocks.Block] = {
    blocks.Text: blocks.Text("words"),
    blocks.Points: blocks.Points(["words"]),
    blocks.Remark: blocks.Remark("words", grave=True),
    blocks.Tiles: blocks.Tiles([blocks.Tile("words", "1")]),
    blocks.Table: blocks.Table(("words",), [(blocks.Cell("1", "below"),)]),
    blocks.Plot: blocks.Plot("words", "about", lambda name, about: f"<svg><title>{name}: {about}</title></svg>"),
    blocks.Listing: blocks.Listing("words", "as they are"),
}


def test_there_is_one_of_each() -> None:
    assert set(ONE_OF_EACH) == set(get_args(blocks.Block))


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_every_kind_is_shown_in_html_and_the_plain_ones_in_markdown_too(kind: type) -> None:
    panel = blocks.Panel("a panel", [ONE_OF_EACH[kind]])
    page = blocks.Page("a page", [], [blocks.Section("a section", [panel])])
    assert "words" in page_html(page)
    assert ("words" in page_markdown(page)) == (kind not in (blocks.Tiles, blocks.Plot, blocks.Listing))
