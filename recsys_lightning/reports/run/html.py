"""A page as one HTML file: no scripts, nothing from elsewhere, plots drawn into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from math import isnan

from recsys_lightning.reports.run.blocks import (
    Block,
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
from recsys_lightning.reports.run.style import STYLE
from recsys_lightning.reports.tables import DASH, number

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser is told: run nothing, fetch nothing."""
_FIGURES = re.compile(rf"(?:[-+<]? ?[\d.,]+(?:e[-+]?\d+)?%?|to|[\[\],{DASH} ])+")
"""A cell that holds numbers, or a range of them."""


def page_html(page: Page) -> str:
    """The page in HTML."""
    title = escape(page.title)
    links = [f'<a href="#{_anchor(section)}">{escape(section.title)}</a>' for section in page.sections]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
            f"<header><h1>{title}</h1>",
            *map(_block, page.head),
            f'<nav aria-label="Sections">{"".join(links)}</nav></header>',
            *map(_section, page.sections),
            "</main></body></html>\n",
        ]
    )


def _section(section: Section) -> str:
    about = f'<p class="quiet">{_text(section.about)}</p>' if section.about else ""
    panels = "".join(map(_panel, section.panels))
    head = f'<h2 id="{_anchor(section)}">{escape(section.title)}</h2>'
    return f'<section>{head}{about}<div class="panels">{panels}</div></section>'


def _panel(panel: Panel) -> str:
    title = f"<h3>{escape(panel.title)}</h3>" if panel.title else ""
    style, blocks = "card", "".join(map(_block, panel.blocks))
    if panel.wide:
        style = "card whole"
        if isinstance(panel.blocks[0], Plot):
            style, blocks = "card whole split", "".join(f"<div>{part}</div>" for part in _split(panel.blocks))
    return f'<div class="{style}">{title}{blocks}</div>\n'


def _split(blocks: Sequence[Block]) -> tuple[str, str]:
    """What stands beside one another in a wide panel: all up to the first table, and the rest."""
    first = next((place for place, block in enumerate(blocks) if isinstance(block, Table)), len(blocks))
    return "".join(map(_block, blocks[:first])), "".join(map(_block, blocks[first:]))


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{_text(text)}</p>"
        case Remark(text, grave):
            return f'<p class="{"remark grave" if grave else "remark"}" role="note">{_text(text)}</p>'
        case Points(points):
            return f"<ul>{''.join(f'<li>{_text(point)}</li>' for point in points)}</ul>"
        case Tiles(tiles):
            return f'<div class="tiles">{"".join(map(_tile, tiles))}</div>'
        case Table():
            return _table(block)
        case Plot(name, about, draw, caption):
            words = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
            return f"<figure>{draw(name, about)}{words}</figure>"
        case Listing(name, text):
            return f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"


def _tile(tile: Tile) -> str:
    note = f'<span class="note">{escape(tile.note)}</span>' if tile.note else ""
    return f'<div><span class="name">{escape(tile.name)}</span><b>{escape(tile.value)}</b>{note}</div>'


def _table(table: Table) -> str:
    shown = [[cell if isinstance(cell, Cell) else Cell(number(cell), "") for cell in row] for row in table.rows]
    right = [_right([cell.text for cell in column]) for column in zip(*shown, strict=True)] or [False] * len(
        table.header
    )
    best = [
        _best([row[place] for row in table.rows]) if name in table.best else ""
        for place, name in enumerate(table.header)
    ]
    sides = ["" if side else ' class="left"' for side in right]
    head = "".join(f'<th scope="col"{side}>{escape(name)}</th>' for name, side in zip(table.header, sides, strict=True))
    rows = []
    for cells in shown:
        written = [
            f"<td{side}>{_cell(cell, best=cell.text == most)}</td>"
            for cell, side, most in zip(cells, sides, best, strict=True)
        ]
        rows.append(f"<tr>{''.join(written)}</tr>")
    header = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    return f'<div class="wide"><table>{header}<tbody>{"".join(rows)}</tbody></table></div>'


def _cell(cell: Cell, best: bool) -> str:
    text = f"<b>{escape(cell.text)}</b>" if best else escape(cell.text)
    return f"{text}<span>{escape(cell.below)}</span>" if cell.below else text


def _right(cells: Sequence[str]) -> bool:
    """Whether a column holds figures, which stand at the right."""
    return any(cells) and all(not cell or _FIGURES.fullmatch(cell) for cell in cells)


def _best(column: Sequence[object]) -> str:
    values = [value for value in column if isinstance(value, int | float) and not isnan(value)]
    return number(max(values)) if values else ""


def _anchor(section: Section) -> str:
    return re.sub(r"\W+", "-", section.title.lower())


def _text(text: str) -> str:
    """A sentence in which what stands between backquotes is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
