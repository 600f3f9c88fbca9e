from __future__ import annotations

from xml.etree import ElementTree

from recsys_lightning.reports.run.blocks import Panel, Plot, Section, Text
from recsys_lightning.reports.run.picture import picture
from recsys_lightning.reports.run.plots import Curve, curves, histogram
from tests.reports.run.runs import EVIL

LINE = Plot("line", "a line", curves([Curve("one", [1, 2], [0, 1])], "epoch", ""))
BARS = Plot("bars", "bars", histogram([0, 1, 2], [3, 4], "norm", "users"))


def test_all_plots_of_a_section_are_one_drawing_that_needs_no_page() -> None:
    panels = [Panel(EVIL, [LINE, Text("words")]), Panel("Bars", [BARS]), Panel("", [Text("no plot")])]
    svg = picture(Section("A <title>", panels, "about"))
    root = ElementTree.fromstring(svg)
    inner = [child for child in root if child.tag.endswith("svg")]
    assert len(inner) == 2 and len({child.get("x") for child in inner}) == 2
    assert "var(" not in svg and "<script" not in svg and "A &lt;title&gt;" in svg and "words" not in svg
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for child in inner:
        right = float(child.get("x", 0)) + float(child.get("width", 0))
        assert right < width and float(child.get("y", 0)) + float(child.get("height", 0)) < height


def test_a_section_without_plots_is_a_title() -> None:
    assert "Nothing" in picture(Section("Nothing", [Panel("", [Text("x")])]))
