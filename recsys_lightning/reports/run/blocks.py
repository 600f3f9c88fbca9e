"""What pages are made of: sections of panels of blocks, which know nothing of Markdown or HTML."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backquotes is code."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    points: Sequence[str]


@dataclass(frozen=True)
class Remark:
    """A sentence that must not be overlooked.

    Attributes:
        text: of it.
        grave: whether the figures must not be used as they are.
    """

    text: str
    grave: bool


@dataclass(frozen=True)
class Tile:
    """A figure of the headline: its name, its value, and what it stands beside."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """The headline; on the HTML page only, as the tables of the Markdown page begin with the same figures."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Cell:
    """A cell of two lines: what it says, and below it what belongs to that."""

    text: str
    below: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: names of the columns.
        rows: cells as `reports.tables.number` shows them, or of two lines.
        best: columns whose largest number is marked.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    best: Collection[str] = ()


@dataclass(frozen=True)
class Plot:
    """A plot; on the HTML page only. It is drawn when it is shown, as drawing takes a second to begin with.

    Attributes:
        name: short, and no other plot of the page has it.
        about: what it shows, for those who do not see it.
        draw: makes the `<svg>` out of both.
        caption: how to read it, where that needs words.
    """

    name: str
    about: str
    draw: Callable[[str, str], str]
    caption: str = ""


@dataclass(frozen=True)
class Listing:
    """A text as it is, folded away; on the HTML page only.

    Attributes:
        name: of what it is.
        text: of it.
    """

    name: str
    text: str


Block = Text | Points | Remark | Tiles | Table | Plot | Listing


@dataclass(frozen=True)
class Panel:
    """Blocks that belong together.

    Attributes:
        title: may be empty.
        blocks: from top to bottom.
        wide: whether it takes the page's whole width.
    """

    title: str
    blocks: Sequence[Block]
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: of it.
        panels: in the order of reading.
        about: what all of it is about, before them.
    """

    title: str
    panels: Sequence[Panel]
    about: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of it.
        head: remarks, sentences and the headline figures.
        sections: after them.
    """

    title: str
    head: Sequence[Block]
    sections: Sequence[Section]
