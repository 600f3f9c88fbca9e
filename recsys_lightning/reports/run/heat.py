"""A plot of a table of shares: the larger, the darker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recsys_lightning.reports.run.canvas import draw, ink
from recsys_lightning.reports.run.plots import FOOT, ROW, WORDS, Painter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat(rows: Sequence[str], values: Sequence[Sequence[float]], groups: Sequence[tuple[str, int]]) -> Painter:
    """A field for each share, in groups of columns.

    Args:
        rows: their names, first at the top.
        values: shares of each row, from 0 to 1.
        groups: names of neighbouring columns, and how many each has.
    """

    def paint(figure: Figure) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        most = max(max(row) for row in values) or 1.0
        for place, row in enumerate(values):
            for column, value in enumerate(row):
                field = Rectangle(
                    (column - 0.46, place - 0.42), 0.92, 0.84, facecolor=ink("s0"), alpha=max(0.0, value) / most
                )
                axes.add_patch(field)
        axes.set_xlim(-0.6, len(values[0]) - 0.4)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(axis="y", labelcolor=ink("text"))
        start, places, names = 0, [], []
        for name, size in groups:
            places.append(start + (size - 1) / 2)
            names.append(name)
            start += size
            if start < len(values[0]):
                axes.axvline(start - 0.5, color=ink("quiet"), linewidth=1)
        axes.set_xticks(places, names)
        axes.tick_params(axis="x", length=0)

    return lambda name, about: draw(name, about, ROW * len(rows) + FOOT + WORDS, paint)
