"""The plots of a section as one SVG file, to be looked at by itself."""

from __future__ import annotations

import re
from html import escape

from recsys_lightning.reports.run.blocks import Panel, Plot, Section
from recsys_lightning.reports.run.canvas import WIDTH
from recsys_lightning.reports.run.style import STYLE

GAP, TITLE, COLUMNS = 24.0, 26.0, 2
_BOX = re.compile(r'<svg class="plot" viewBox="0 0 ([\d.]+) ([\d.]+)"')
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def picture(section: Section) -> str:
    """All plots of a section, each below the title of its panel, in the light colours of the page.

    Colours are written out, so that viewers that know nothing of styles show it too.
    """
    drawn = [
        (panel.title or plot.caption, plot.draw(plot.name, plot.about))
        for panel in section.panels
        for plot in _plots(panel)
    ]
    columns = min(COLUMNS, max(1, len(drawn)))
    rows = [drawn[first : first + columns] for first in range(0, len(drawn), columns)]
    top, parts = GAP + 2 * TITLE, []
    for row in rows:
        height = max(_height(svg) for _, svg in row)
        for place, (title, svg) in enumerate(row):
            left = GAP + place * (WIDTH + GAP)
            parts.append(f'<text x="{left:g}" y="{top:g}" font-size="14" font-weight="600">{escape(title)}</text>')
            at = f'<svg x="{left:g}" y="{top + TITLE / 2:g}" width="{WIDTH:g}" height="{_height(svg):g}" viewBox="0 0 '
            parts.append(_BOX.sub(lambda box, at=at: f'{at}{box[1]} {box[2]}"', svg, count=1))  # type: ignore[misc]
        top += height + TITLE + GAP
    width = GAP + columns * (WIDTH + GAP)
    page = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width:g}" '
        f'height="{top:g}" viewBox="0 0 {width:g} {top:g}" font-family="{escape(_FONT)}" fill="var(--text)">\n'
        f'<rect width="100%" height="100%" fill="var(--card)"/>\n'
        f'<text x="{GAP:g}" y="{GAP + 8:g}" font-size="18" font-weight="650">{escape(section.title)}</text>\n'
    )
    return _with_colours(page + "\n".join(parts) + "\n</svg>\n")


def _plots(panel: Panel) -> list[Plot]:
    return [block for block in panel.blocks if isinstance(block, Plot)]


def _height(svg: str) -> float:
    found = _BOX.match(svg)
    assert found is not None
    return float(found[2])


def _with_colours(svg: str) -> str:
    """The drawing with the light colours of the page in the place of their names."""
    light: dict[str, str] = {}
    for name, colour in re.findall(r"--([\w-]+):(#[0-9a-f]+)", STYLE):
        light.setdefault(name, colour)
    return re.sub(r"var\(--([\w-]+)\)", lambda found: light[found[1]], svg)
