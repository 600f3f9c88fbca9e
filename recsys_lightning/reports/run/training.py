"""The section on how the model was trained."""

from __future__ import annotations

from recsys_lightning.reports.run.blocks import Panel, Plot, Section, Table, Text
from recsys_lightning.reports.run.curves import Curves
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.plots import Curve, curves
from recsys_lightning.reports.tables import number

Point = tuple[float, float]


def training(run: Run) -> Section | None:
    """Curves of loss, of the figure that selects, and of learning rates; where they began, were best and ended."""
    found = run.curves
    if found is None:
        if run.checkpoint and run.trained is None:
            return Section("Training", [Panel("", [Text(f"The run of `{run.checkpoint}` is not here: no curves.")])])
        return None
    panels = []
    if found.loss:
        panels.append(_panel("loss", "Loss of training", found.loss, found, positive(found.loss)))
    if found.selected:
        panels.append(_panel("selected", found.monitor, found.selected, found, False, found.best))
    for number_of, (name, points) in enumerate(found.rates.items()):
        panels.append(_panel(f"rate-{number_of}", f"Learning rate, {name}", points, found, positive(points)))
    return Section("Training", [*panels, Panel("", [_table(found)], wide=True)], _about(found))


def positive(points: tuple[Point, ...]) -> bool:
    """Whether values span so much, above zero, that a logarithmic axis shows them better."""
    values = [value for _, value in points]
    return min(values) > 0 and max(values) > 20 * min(values)


def _about(found: Curves) -> str:
    sentences = []
    last = max((points[-1][0] for points in (found.loss, found.selected) if points), default=None)
    if found.best is not None and last is not None:
        place, value = found.best
        sentences.append(
            f"The best {found.monitor} was {number(value)}, after {found.along} {place:,.0f} of {last:,.0f}."
        )
    if found.restarts:
        times = "once" if found.restarts == 1 else f"{found.restarts} times"
        sentences.append(f"The training was taken up again {times}; what was done anew replaces what was there before.")
    return " ".join(sentences)


def _panel(
    name: str, title: str, points: tuple[Point, ...], found: Curves, log: bool, best: Point | None = None
) -> Panel:
    x, y = zip(*points, strict=True)
    about = f"{title} by {found.along}: {number(y[0])} at first, {number(y[-1])} at last"
    scale = "logarithmic" if log else ""
    line = Curve(title, x, y)
    return Panel(title, [Plot(name, about, curves([line], found.along, scale, best, log))])


def _table(found: Curves) -> Table:
    """Rows for the first, the best and the last measurement."""
    series = {"loss of training": dict(found.loss), found.monitor: dict(found.selected)}
    series |= {name: dict(points) for name, points in found.rates.items()}
    series = {name: points for name, points in series.items() if points}
    places = sorted({place for points in series.values() for place in points})
    chosen = {"first": places[0], "last": places[-1]}
    if found.best is not None:
        chosen = {"first": places[0], "best": found.best[0], "last": places[-1]}
    rows = [
        [name, int(place), *(_nearest(points, place) for points in series.values())] for name, place in chosen.items()
    ]
    return Table(["", found.along, *series], rows)


def _nearest(points: dict[float, float], place: float) -> str | float | None:
    """The value there, or the latest before it."""
    before = [at for at in points if at <= place]
    value = points[max(before)] if before else None
    return f"{value:.2g}" if value is not None and 0 < abs(value) < 0.001 else value
