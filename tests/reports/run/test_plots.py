from __future__ import annotations

import re

import pytest

from recsys_lightning.reports.run.plots import Bar, Curve, Painter, bars_across, curves, dots, histogram, steps
from tests.reports.run.runs import EVIL

BARS = [Bar("first", 0.3, 0.2, 0.4, 0.1), Bar(EVIL, -0.1, strong=False), Bar("\x00\x08bell", 0.0)]
LINE = Curve("line", [0, 1, 2], [0.1, 0.2, 0.4], [0.05, 0.1, 0.3], [0.2, 0.3, 0.5])


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize(
    ("painter", "said"),
    [
        (dots(BARS, "r", 0.0), ["first", "r"]),
        (dots(BARS[:1]), ["first"]),
        (bars_across(BARS, "share", "random"), ["first", "share", "random"]),
        (
            histogram([0, 1, 2], [3, 4], "norm", "users", {"mean": 1.25, "median": 1.0}),
            ["norm", "users", "mean 1.2500"],
        ),
        (histogram([0, 1, 2], [0, 0], "norm", "users"), ["norm"]),
        (
            curves([LINE, Curve("other", [0, 1], [1, 1])], "k", "ndcg", ticks=["0", "1", "10"]),
            ["line", "other", "k", "10"],
        ),
        (curves([LINE], "epoch", "loss", best=(2, 0.4), log=True), ["epoch", "loss"]),
        (curves([Curve("one", [1], [0.5])], "epoch", "loss"), ["epoch"]),
        (curves([Curve(f"model {n}", [0, 1], [n, n]) for n in range(8)], "k", "y"), ["model 0", "model 7"]),
        (steps(LINE, ["0", "1", "2"], "degree", "share"), ["degree", "share", "2"]),
    ],
)
def test_each_kind_can_be_drawn_and_carries_its_words(painter: Painter, said: list[str]) -> None:
    svg = painter("name", "about")
    assert set(said) <= set(words(svg))
    assert "\x00" not in svg and "<script" not in svg


def test_marks_tell_curves_apart_without_colour() -> None:
    svg = curves([Curve(f"model {n}", [0, 1], [n, n]) for n in range(6)], "k", "y")("name", "about")
    dashes = set(re.findall(r"stroke-dasharray: ([\d., ]+)", svg))
    assert len(dashes) >= 5


def test_bars_begin_at_zero_and_grow_with_their_values() -> None:
    svg = bars_across([Bar("a", 0.1), Bar("b", 0.2)], "share")("name", "about")
    shapes = re.findall(
        r'<path d="M ([\d.]+) [\d.]+ L ([\d.]+) [^"]*" clip-path="[^"]*" style="fill: var\(--s0\)"', svg
    )
    lengths = [float(end) - float(start) for start, end in shapes]
    assert len(lengths) == 2 and lengths[1] == pytest.approx(2 * lengths[0], abs=0.1)
    assert shapes[0][0] == shapes[1][0]


def test_intervals_end_inside_the_plot() -> None:
    svg = bars_across([Bar("a", 0.1, -0.05, 0.3), Bar("b", 0.2)], "share")("name", "about")
    (frame,) = re.findall(r'<clipPath id="[^"]*">\s*<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    ((start, end),) = re.findall(
        r'<path d="M ([\d.]+) [\d.]+ L ([\d.]+) [\d.]+" clip-path="[^"]*" style="[^"]*--text', svg
    )
    assert float(frame[0]) <= float(start) < float(end) <= float(frame[0]) + float(frame[1])
