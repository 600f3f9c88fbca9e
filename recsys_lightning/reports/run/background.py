"""Sections on cold starts, on how the data were made, on how it was measured, and on what ran."""

from __future__ import annotations

from recsys_lightning.reports.ranking import DEFINITIONS, METHOD, RankingReport
from recsys_lightning.reports.run.blocks import Cell, Listing, Panel, Plot, Points, Section, Table, Text
from recsys_lightning.reports.run.folder import CONFIG, Run, measured
from recsys_lightning.reports.run.plots import Curve, Painter, curves
from recsys_lightning.reports.run.values import Values
from recsys_lightning.reports.tables import number


def cold_start(run: Run) -> Section | None:
    """How good models are for what they know little of, by how many rows they are given (shots.json)."""
    found = [(curve["model"].text(), list(curve["points"])) for curve in run.shots["curves"]]
    lines = [line for name, points in found if (line := _line(name, points)).x]
    if not lines:
        return None
    metric, what = run.shots["metric"].text(), run.shots["what"].text()
    shots = sorted({place for line in lines for place in line.x})
    cells = [{k: _with_interval(line, place) for place, k in enumerate(line.x)} for line in lines]
    rows = [[f"{k:g}", *(cell.get(k) for cell in cells)] for k in shots]
    about = f"{metric} by the number of rows that models are given"
    plot = Plot("shots", f"{about}: {'; '.join(_said(line) for line in lines)}", _drawn(lines, shots, metric))
    table = Table(["rows given", *(line.name for line in lines)], rows)
    interval = " Bands and brackets are 95 % intervals." if any(line.low for line in lines) else ""
    sentence = f"`{metric}` by the number of rows that models are given{f': {what}' if what else ''}.{interval}"
    return Section("Cold start", [Panel("", [plot, table], wide=True)], sentence)


def data_card(report: RankingReport | None) -> Section | None:
    """What was done to the data."""
    if report is None or not report.steps:
        return None
    rows = [(step.name, step.rows, step.users, step.items, step.note) for step in report.steps]
    return Section("Data", [Panel("", [Table(("step", "interactions", "users", "items", "note"), rows)], wide=True)])


def method() -> Section:
    """Definitions."""
    return Section("How it was measured", [Panel("", [Text(METHOD), Points(DEFINITIONS)], wide=True)])


def environment(run: Run) -> Section:
    """What ran, with what, and its configuration."""
    rows: list[tuple[str, object]] = [
        (name.replace("_", " "), value.value if isinstance(value.value, int | float) else value.text())
        for name, value in measured(run.metrics)
        if isinstance(value.value, int | float | str) and value.value != "" and not isinstance(value.value, bool)
    ]
    for name in ("tested", "device", "parameters"):
        if run.facts[name]:
            rows.append((name, run.facts[name].value))
    rows += [(name, value.text()) for name, value in run.facts["versions"].items()]
    panel = (
        [Panel("", [Table(("", ""), [(name, str(number(value))) for name, value in rows])], wide=True)] if rows else []
    )
    listing = Panel("", [Listing(CONFIG, run.config)], wide=True) if run.config else None
    return Section("The run", [*panel, *([listing] if listing else [])])


def _line(name: str, points: list[Values]) -> Curve:
    known = []
    for point in points:
        k, value = point["k"].number(), point["value"].number()
        if k is not None and value is not None:
            known.append((k, value, point["low"].number(), point["high"].number()))
    known.sort(key=lambda point: point[0])
    low = [point[2] for point in known if point[2] is not None]
    high = [point[3] for point in known if point[3] is not None]
    whole = len(low) == len(high) == len(known)
    x, y = [point[0] for point in known], [point[1] for point in known]
    return Curve(name, x, y, low if whole else (), high if whole else ())


def _drawn(lines: list[Curve], shots: list[float], metric: str) -> Painter:
    """Numbers of shots stand equally far apart, as they are few and grow fast."""
    place = {k: float(at) for at, k in enumerate(shots)}
    apart = [line._replace(x=[place[k] for k in line.x]) for line in lines]
    return curves(apart, "rows given", metric, ticks=[f"{k:g}" for k in shots])


def _with_interval(line: Curve, place: int) -> Cell:
    below = f"[{number(line.low[place])}, {number(line.high[place])}]" if line.low else ""
    return Cell(number(line.y[place]), below)


def _said(line: Curve) -> str:
    return f"{line.name} from {number(line.y[0])} at {line.x[0]:g} to {number(line.y[-1])} at {line.x[-1]:g}"
