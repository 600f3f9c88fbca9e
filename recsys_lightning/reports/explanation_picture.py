"""Paths from a user to recommended items as a picture: an SVG of four columns, drawn by arithmetic.

The user stands at the left, then the user's own items, what they have in common with recommended items, and the
recommended items by rank. Own items and values stand near what they lead to, so that few lines cross.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from recsys_lightning.reports.explanation_paths import Path, Value

WIDTH = 1040
HEAD = 34
"""Height of the line of headings."""
ROW = 36
BOX = 26
"""Height of a box: rows are higher, so that lines between boxes can be told apart."""
FONT = 13
PADDING = 10
THIN, THICK = 1.2, 6.0
"""Widths of the weakest line there can be and of the strongest one."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NARROW, BROAD = set("ijltfI.,:;'|!()[] "), set(f"MWmw@%{ELLIPSIS}")


class Column(NamedTuple):
    """Where the boxes of a column stand."""

    name: str
    left: int
    width: int
    title: str


USER = Column("user", 2, 84, "user")
OWN = Column("own", 152, 262, "the user's own items")
VALUE = Column("value", 522, 186, "in common")
ITEM = Column("item", 776, 262, "recommended")


class Node(NamedTuple):
    """A box: what it stands for is an id, or an attribute value."""

    column: Column
    key: str | Value


Lines = dict[tuple[Node, Node], float]
"""The weight of each line; paths that share it add up."""


class Titles(NamedTuple):
    """What is written into boxes, by raw id; colours are classes of the page's style, by kind of attribute."""

    own: Mapping[str, str]
    item: Mapping[str, str]
    colours: Mapping[str, str]

    def of(self, node: Node) -> str:
        """The text of a box."""
        if isinstance(node.key, tuple):
            return node.key[1]
        names = {OWN: self.own, ITEM: self.item}.get(node.column, {})
        return names.get(node.key, node.key)

    def colour(self, *nodes: Node) -> str:
        """Class of a box, or of a line between boxes."""
        kinds = [self.colours.get(node.key[0], VALUE.name) for node in nodes if isinstance(node.key, tuple)]
        if kinds:
            return kinds[0]
        return "direct" if len(nodes) == 2 and nodes[1].column is ITEM else nodes[0].column.name


def picture(paths: Sequence[Path], titles: Titles) -> str:
    """The picture as an `<svg>` element.

    Args:
        paths: of one user.
        titles: `titles.item` holds every recommended item, by rank, with those that no path leads to.
    """
    lines: Lines = defaultdict(float)
    for path in paths:
        stations = [Node(USER, path.user), Node(OWN, path.own), Node(ITEM, path.item)]
        if path.via is not None:
            stations.insert(2, Node(VALUE, path.via))
        for ends in pairwise(stations):
            lines[ends] += path.weight
    columns = _columns(lines, titles)
    height = HEAD + ROW * max((len(nodes) for nodes in columns), default=0)
    middle = {
        node: HEAD + (height - HEAD) * (place + 0.5) / len(nodes)
        for nodes in columns
        for place, node in enumerate(nodes)
    }
    heads = {nodes[0].column for nodes in columns}
    parts = [
        *(f'<text class="head" x="{c.left + c.width / 2:g}" y="14">{escape(c.title)}</text>' for c in sorted(heads)),
        *_drawn_lines(lines, middle, titles),
        *(_box(node, y, titles) for node, y in middle.items()),
    ]
    about = f"How {len(titles.item)} recommended items hang together with the user's own"
    attributes = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(about)}"'
    return "\n".join([f'<svg class="graph" {attributes}>', *parts, "</svg>"])


def shorten(text: str, width: float, size: float = FONT) -> str:
    """The text, cut so that it is no wider than so many pixels in a usual font."""
    if text_width(text, size) <= width:
        return text
    kept = ""
    for letter in text:
        if text_width(kept + letter + ELLIPSIS, size) > width:
            break
        kept += letter
    return kept.rstrip() + ELLIPSIS


def text_width(text: str, size: float = FONT) -> float:
    """Pixels of a text in a usual font, rather too many than too few."""
    return size * sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in NARROW:
        return 0.36
    return 0.95 if letter in BROAD else 0.74 if letter.isupper() else 0.6


def _columns(lines: Lines, titles: Titles) -> list[list[Node]]:
    """The nodes of each column that has any, from top to bottom; a node stands where its lines to the right pull it."""
    ends = [second for _, second in lines if second.column is ITEM]
    ranked = list(dict.fromkeys([*(Node(ITEM, item) for item in titles.item), *ends]))
    columns = [ranked]
    place = {node: (at + 0.5) / len(ranked) for at, node in enumerate(ranked)}
    for column in (VALUE, OWN, USER):
        pull: dict[Node, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for (first, second), weight in lines.items():
            if first.column is column:
                pull[first][0] += weight * place[second]
                pull[first][1] += weight
        nodes = sorted(pull, key=lambda node: pull[node][0] / (pull[node][1] or 1.0))
        place |= {node: (at + 0.5) / len(nodes) for at, node in enumerate(nodes)}
        columns.insert(0, nodes)
    return [nodes for nodes in columns if nodes]


def _drawn_lines(lines: Lines, middle: Mapping[Node, float], titles: Titles) -> list[str]:
    """Curves from the right side of one box to the left side of another, those over other users behind the rest."""
    most = max(lines.values(), default=1.0) or 1.0
    drawn = []
    for (first, second), weight in sorted(lines.items(), key=lambda line: line[0][1].column is not ITEM):
        x, end = first.column.left + first.column.width, second.column.left
        y, last, bend = middle[first], middle[second], (x + end) / 2
        curve = f"M{x} {y:.1f}C{bend:g} {y:.1f} {bend:g} {last:.1f} {end} {last:.1f}"
        told = escape(f"{titles.of(first)} \N{RIGHTWARDS ARROW} {titles.of(second)}: {weight:.4f}")
        width = THIN + (THICK - THIN) * weight / most
        drawn.append(
            f'<path class="line {titles.colour(first, second)}" d="{curve}" stroke-width="{width:.1f}">'
            f"<title>{told}</title></path>"
        )
    return drawn


def _box(node: Node, y: float, titles: Titles) -> str:
    """A box with its text; what was cut off shows when it is pointed at."""
    column, text = node.column, titles.of(node)
    whole = f"{node.key[0]}: {text}" if isinstance(node.key, tuple) else text
    shown = shorten(text, column.width - 2 * PADDING)
    return (
        f'<g class="box {titles.colour(node)}"><title>{escape(whole)}</title>'
        f'<rect x="{column.left}" y="{y - BOX / 2:.1f}" width="{column.width}" height="{BOX}" rx="{BOX / 2:g}"/>'
        f'<text x="{column.left + column.width / 2:g}" y="{y + FONT / 3:.1f}">{escape(shown)}</text></g>'
    )
