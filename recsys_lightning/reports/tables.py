"""Small tables of figures, as aligned text for a terminal and as Markdown for a report.

Floats below ten are shown to four decimals, others to one, whole numbers with their thousands set apart, and what is
missing (None, NaN) as a dash. Columns of numbers stand at the right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isnan

DASH = "\N{EN DASH}"
Rows = Sequence[Sequence[object]]


def text_table(header: Sequence[str], rows: Rows, best: Collection[str] = ()) -> str:
    """An aligned table, with a star behind the largest number of each column named in `best`."""
    body = _cells(header, rows, best, mark="{}*", other="{} ")
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    sides = [">" if right else "<" for right in _numeric(header, rows)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(map("{:{}{}}".format, cells, sides, widths)).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, body)])


def markdown_table(header: Sequence[str], rows: Rows, best: Collection[str] = ()) -> str:
    """The same table in Markdown, with the largest number of each column named in `best` in bold."""
    body = _cells(header, rows, best, mark="**{}**", other="{}")
    rule = ["---:" if right else "---" for right in _numeric(header, rows)]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in cells] for cells in [header, *body]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [safe[0], rule, *safe[1:]])


def number(value: object) -> str:
    """A value as tables show it."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return DASH
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cells(header: Sequence[str], rows: Rows, best: Collection[str], mark: str, other: str) -> list[list[str]]:
    """All cells in words. Numbers that print like the largest of their column share its mark."""
    shown = [[number(value) for value in row] for row in rows]
    for column, name in enumerate(header):
        values = [value for row in rows if isinstance(value := row[column], int | float) and not isnan(value)]
        if name in best and values:
            winner = number(max(values))
            for cells in shown:
                cells[column] = (mark if cells[column] == winner else other).format(cells[column])
    return shown


def _numeric(header: Sequence[str], rows: Rows) -> list[bool]:
    """Whether each column holds numbers or nothing, but no words."""
    return [
        bool(rows) and all(row[column] is None or isinstance(row[column], int | float) for row in rows)
        for column in range(len(header))
    ]
