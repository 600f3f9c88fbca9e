"""The kinds of plots of a page. Each takes plain values and gives an `<svg>`; see `canvas.draw` for name and about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recsys_lightning.reports.explanation_picture import shorten
from recsys_lightning.reports.run.canvas import SERIES, SIZE, draw, ink
from recsys_lightning.reports.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

MARKERS, DASHES = "osD^vP", ("-", (0, (5, 2)), (0, (1, 1.5)), "-.", (0, (8, 2)), (0, (3, 1, 1, 1)))
"""Of the curves of one plot, so that nobody needs their colours to tell them apart."""
LABEL = 175.0
"""Widest label of a row, in pixels."""
ROW, FOOT, WORDS = 27, 30, 18
"""Heights of a row, of the numbers below them, and of the words below these, in pixels."""


class Bar(NamedTuple):
    """A value with its name; `low` and `high` are the ends of its interval, `beside` is what it is compared with."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    beside: float | None = None
    strong: bool = True


class Curve(NamedTuple):
    """Points by their place, with intervals where there are any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


Painter = Callable[[str, str], str]


def dots(bars: Sequence[Bar], label: str = "", reference: float | None = None) -> Painter:
    """A dot for each value, from top to bottom, with its interval; strong ones filled.

    Args:
        bars: first at the top.
        label: of the axis.
        reference: where a line stands.
    """

    def paint(figure: Figure) -> None:
        axes = _rows(figure, bars, label)
        if reference is not None:
            axes.axvline(reference, color=ink("quiet"), linewidth=1, zorder=1)
        for place, bar in enumerate(bars):
            colour = ink("s0" if bar.strong else "quiet")
            if bar.low is not None and bar.high is not None:
                axes.plot((bar.low, bar.high), (place, place), color=colour, linewidth=2.2, solid_capstyle="round")
            face = colour if bar.strong else ink("card")
            axes.plot(bar.value, place, "o", color=colour, markersize=8, markerfacecolor=face, markeredgewidth=1.6)

    return lambda name, about: draw(name, about, ROW * len(bars) + FOOT + (WORDS if label else 0), paint)


def bars_across(bars: Sequence[Bar], label: str, beside: str = "") -> Painter:
    """Bars from the left, with intervals, and a mark where each is compared with something.

    Args:
        bars: first at the top.
        label: of the axis.
        beside: what the marks are; empty where there are none.
    """

    def paint(figure: Figure) -> None:
        axes = _rows(figure, bars, label)
        axes.barh(range(len(bars)), [bar.value for bar in bars], height=0.6, color=ink("s0"))
        for place, bar in enumerate(bars):
            if bar.low is not None and bar.high is not None:
                axes.plot((bar.low, bar.high), (place, place), color=ink("text"), linewidth=1.4)
            if bar.beside is not None:
                axes.plot((bar.beside, bar.beside), (place - 0.42, place + 0.42), color=ink("s1"), linewidth=3.2)
        axes.set_xlim(left=min(0.0, *(bar.low if bar.low is not None else bar.value for bar in bars)))
        if beside:
            axes.plot([], [], color=ink("s1"), linewidth=3.2, label=beside)
            figure.legend(loc="outside upper right", handlelength=1)

    return lambda name, about: draw(name, about, ROW * len(bars) + FOOT + WORDS + (24 if beside else 0), paint)


def histogram(
    edges: Sequence[float], counts: Sequence[float], label: str, of: str, lines: Mapping[str, float] | None = None
) -> Painter:
    """How often values lie between edges.

    Args:
        edges: one more than counts.
        counts: in each bin.
        label: of the axis.
        of: what is counted.
        lines: values that are marked by upright lines, by name.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.stairs(counts, edges, fill=True, color=ink("s0"), alpha=0.35)
        axes.stairs(counts, edges, color=ink("s0"), linewidth=1.4)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.8)
        axes.set_xlabel(label)
        axes.set_title(of, loc="left", color=ink("quiet"), pad=8)
        axes.yaxis.set_major_locator(_whole_places())
        for place, (name, value) in enumerate((lines or {}).items()):
            style: dict[str, Any] = {"color": ink(f"s{place + 1}"), "linestyle": DASHES[place % SERIES]}
            axes.axvline(value, label=f"{name} {number(value)}", linewidth=2, **style)
        if lines:
            figure.legend(loc="outside upper right", ncols=3, handlelength=1.8)

    return lambda name, about: draw(name, about, 220, paint)


def curves(
    lines: Sequence[Curve],
    x_label: str,
    y_label: str,
    best: tuple[float, float] | None = None,
    log: bool = False,
    ticks: Sequence[str] = (),
) -> Painter:
    """Curves; more than one are told apart by marks and by a legend.

    Args:
        lines: to draw.
        x_label: of the axis.
        y_label: stands above the plot.
        best: a point that is marked.
        log: whether the upright axis is logarithmic.
        ticks: names of the places 0, 1, ... where they are not the numbers themselves.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            colour = ink(f"s{place % SERIES}")
            style: dict[str, Any] = {"linestyle": DASHES[place % SERIES], "linewidth": 1.8, "label": line.name}
            if len(lines) > 1 or len(line.x) < 40:
                style |= {"marker": MARKERS[place % SERIES], "markersize": 5 if len(lines) > 1 else 3.5}
            axes.plot(line.x, line.y, color=colour, **style)
            if line.low and line.high:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.14, linewidth=0)
        if best is not None:
            axes.axvline(best[0], color=ink("quiet"), linewidth=1, linestyle=(0, (3, 3)))
            axes.plot(*best, "o", color=ink("s1"), markersize=9, markerfacecolor="none", markeredgewidth=2)
        _frame(axes, x_label, y_label, log)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=3, handlelength=2.6)

    return lambda name, about: draw(name, about, 240 + 20 * ((len(lines) + 2) // 3 - 1), paint)


def steps(line: Curve, names: Sequence[str], x_label: str, y_label: str) -> Painter:
    """Values of neighbouring groups: a mark for each mean, a bar for the range around it."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        if line.low and line.high:
            axes.vlines(line.x, line.low, line.high, color=ink("s0"), linewidth=7, alpha=0.3)
        axes.plot(line.x, line.y, color=ink("s0"), linewidth=1.4, marker="o", markersize=7)
        _frame(axes, x_label, y_label, log=False)
        axes.set_ylim(0, 1)
        axes.set_xticks(list(line.x), [_label(name) for name in names])

    return lambda name, about: draw(name, about, 250, paint)


def _rows(figure: Figure, bars: Sequence[Bar], label: str) -> Axes:
    """Axes with a row for each bar, named at the left."""
    axes = figure.add_subplot()
    axes.set_yticks(range(len(bars)), [_label(bar.name) for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", labelcolor=ink("text"))
    axes.grid(axis="x", linewidth=0.8)
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=5)
    return axes


def _frame(axes: Axes, x_label: str, y_label: str, log: bool) -> None:
    axes.set_xlabel(x_label)
    axes.set_title(y_label, loc="left", color=ink("quiet"), pad=8)
    axes.grid(axis="y", linewidth=0.8)
    if log:
        axes.set_yscale("log")
    axes.margins(x=0.03)
    axes.xaxis.set_major_locator(_whole_places())


def _whole_places() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, integer=True)


def _label(text: str) -> str:
    """A name from the data, short enough for a row, without what no drawing can hold."""
    return shorten("".join(letter if letter.isprintable() else " " for letter in text), LABEL, SIZE)
