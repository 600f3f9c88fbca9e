from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from recsys_lightning.reports.run.canvas import VARIABLES, draw, ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paint(figure: Figure) -> None:
    axes = figure.add_subplot()
    axes.plot([0.12345678, 2], [3, 4], color=ink("s0"), marker="o")
    axes.set_title("0.12345678 <b> & $x$ \u6f22", color=ink("text"))


def test_text_stays_text_and_is_not_rounded() -> None:
    svg = draw("one", "about <it>", 200, paint)
    assert "0.12345678 &lt;b&gt; &amp; $x$ \u6f22" in svg
    assert 'aria-label="about &lt;it&gt;"' in svg and 'viewBox="0 0 470 200"' in svg


def test_colours_are_those_of_the_page() -> None:
    svg = draw("one", "about", 200, paint)
    assert "var(--s0)" in svg and "var(--quiet)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(?:id|href)="[^"]*"|url\([^)]*\)', "", svg))
    assert len({ink(name) for name in VARIABLES}) == len(VARIABLES)


def test_it_is_a_part_of_a_page() -> None:
    svg = draw("one", "about", 200, paint)
    ElementTree.fromstring(svg)
    assert not re.search(r"xmlns|http|<style|metadata|font-family|<!", svg)
    assert max(len(number.partition(".")[2]) for number in re.findall(r'[ "]([\d.]+)(?=[ "])', svg)) <= 2


def test_names_inside_differ_between_plots_and_not_between_drawings() -> None:
    first, again, other = (draw(name, "about", 200, paint) for name in ("one", "one", "two"))
    assert first == again
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0] and not ids[0] & ids[1]


def test_it_leaves_no_settings_behind() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("one", "about", 200, paint)
    assert dict(matplotlib.rcParams) == before
