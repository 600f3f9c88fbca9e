"""A page in Markdown: sentences and tables."""

from __future__ import annotations

import re

from recsys_lightning.reports.run.blocks import Block, Cell, Page, Panel, Points, Remark, Section, Table, Text
from recsys_lightning.reports.tables import markdown_table

_MARKS = re.compile(r"([\\`*\[\]<>#~]|(?<![^\W_])_|_(?![^\W_]))")
"""What Markdown would not take as it is; underscores inside words stay."""


def page_markdown(page: Page) -> str:
    """The page in Markdown; plots, and what lies in a file of its own beside it, are left out."""
    parts = [f"# {_safe(page.title)}", *map(_block, page.head)]
    for section in page.sections:
        parts += _section(section)
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> list[str]:
    panels = [part for panel in section.panels for part in _panel(panel)]
    return [f"## {_safe(section.title)}", _text(section.about), *panels] if panels else []


def _panel(panel: Panel) -> list[str]:
    blocks = [shown for block in panel.blocks if (shown := _block(block))]
    return [f"### {_safe(panel.title)}", *blocks] if blocks and panel.title else blocks


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return _text(text)
        case Remark(text, grave):
            return f"**{_text(text)}**" if grave else _text(text)
        case Points(points):
            return "\n".join(f"- {_text(point)}" for point in points)
        case Table(header, rows, best):
            names = [_safe(name) for name in header]
            return markdown_table(
                names, [[_cell(cell) for cell in row] for row in rows], [_safe(name) for name in best]
            )
    return ""


def _cell(cell: object) -> object:
    if isinstance(cell, Cell):
        return _safe(f"{cell.text} {cell.below}")
    return _safe(cell) if isinstance(cell, str) else cell


def _text(text: str) -> str:
    """A sentence of ours, in which names from the data may stand: no tags, and code between backquotes."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if place % 2 else re.sub(r"([<>])", r"\\\1", part) for place, part in enumerate(parts))


def _safe(text: str) -> str:
    """A text of the data, as it is."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
