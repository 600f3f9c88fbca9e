"""Sections on how good the model is: the headline, beside the floors, all metrics, over users."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isnan, sqrt

from recsys_lightning.reports.ranking import HIGHER_IS_BETTER, RankingReport
from recsys_lightning.reports.run.blocks import Block, Panel, Plot, Section, Table, Text, Tile, Tiles
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.plots import Bar, dots, histogram
from recsys_lightning.reports.tables import number

FIGURE = re.compile(r"test/(?P<name>\w+?)_(?P<cut>\d+(?:_sampled_\d+)?)")
HEADLINE = ("ndcg", "recall", "hit_rate", "coverage")


def headline(run: Run, report: RankingReport) -> list[Block]:
    """What is said first: what must not be overlooked, what was measured on what, and the figures."""
    users = int(report.results["test/users"])
    about = f"Split: {report.split}. {users:,} users tested; models saw the rows of {report.visible or 'train'}."
    blocks: list[Block] = [*report.remarks(), Text(about)]
    if run.facts:
        blocks.append(Text(report.about_the_future()))
    else:
        blocks.append(Text("There is no facts.json: floors and the making of the data are not known. Test it again."))
    if run.tested is not None and run.tested != run.folder:
        several = f", the newest of {run.tests}" if run.tests > 1 else ""
        blocks.append(Text(f"Shown is the test in `{run.tested.name}`{several}."))
    tiles = [tile for name in HEADLINE if (tile := _tile(report, name))]
    blocks.append(Text(f"Fingerprint `{report.fingerprint}`"))
    return [*blocks, Tiles([*tiles, Tile("users", f"{users:,}")])]


def beside_the_floors(run: Run, report: RankingReport) -> Section:
    """The table of the terminal, and dot plots of its main figures."""
    head, rows = report.comparison()
    panels = [Panel("", [Table(head, rows, report.best)], wide=True)]
    if len(rows) > 1:
        panels += [_dot_panel(run, report, name) for name in ("ndcg", "recall")]
    return Section("Beside the floors", panels, "Bold figures are the best of their column." if report.best else "")


def all_metrics(report: RankingReport) -> Panel:
    """Each metric has a row, each cut-off a column, sampled ones under their own names."""
    cells: dict[str, dict[str, float]] = {}
    others = []
    for key, value in sorted(report.results.items()):
        if found := FIGURE.fullmatch(key):
            cells.setdefault(found["name"], {})[f"@{found['cut']}"] = value
        else:
            others.append((key.removeprefix("test/"), int(value) if value == int(value) else value))
    cuts = sorted({cut for row in cells.values() for cut in row}, key=_cut_order)
    rows = [[name, *(row.get(cut) for cut in cuts)] for name, row in cells.items()]
    blocks: list[Block] = [Table(["metric", *cuts], rows)]
    if others:
        blocks.append(Text(f"{'; '.join(f'{name} {number(value)}' for name, value in others)}."))
    if any("sampled" in cut for cut in cuts):
        blocks.append(
            Text(
                "Columns with `sampled` in their name rank the held-out items among so many random candidates only. "
                "They are larger than those of the full ranking, and can put models in another order."
            )
        )
    return Panel("All metrics", blocks)


def over_users(run: Run, report: RankingReport) -> Panel | None:
    """How the headline figure spreads over users."""
    values = sorted(run.per_user)
    if not values:
        return None
    name = f"ndcg@{report.k[0]}"
    hits = [value for value in values if value > 0]
    nothing = 1 - len(hits) / len(values)
    mean, margin = _mean(values)
    text = (
        f"{nothing:.1%} of {len(values):,} users find none of their held-out items among the first {report.k[0]}; "
        f"the mean over all is {mean:.4f} (95 % interval {mean - margin:.4f} to {mean + margin:.4f})."
    )
    if not hits:
        return Panel("Over users", [Text(text)])
    median = hits[len(hits) // 2]
    text += f" Of users with a hit, half have {median:.4f} or more."
    edges = [place / 20 for place in range(21)]
    counts = [0.0] * 20
    for value in hits:
        counts[min(19, int(value * 20))] += 1
    about = f"Histogram of {name} over the {len(hits):,} users with a hit"
    plot = Plot("users", about, histogram(edges, counts, f"{name} of users with a hit", "users", {"median": median}))
    return Panel("Over users", [plot, Text(text)])


def _tile(report: RankingReport, name: str) -> Tile | None:
    """A figure beside the best of the floors."""
    key = f"{name}_{report.k[0]}"
    value = report.results.get(f"test/{key}")
    if value is None or isnan(value):
        return None
    floors = [
        (floor.test[key], floor.name) for floor in report.floors if key in floor.test and floor.name != report.model
    ]
    note = ""
    if floors and name in HIGHER_IS_BETTER:
        best, floor = max(floors)
        note = f"{value - best:+.4f} beside {floor}"
    return Tile(f"{name}@{report.k[0]}", number(value), note)


def _dot_panel(run: Run, report: RankingReport, name: str) -> Panel:
    key = f"{name}_{report.k[0]}"
    bars = [Bar(floor.name, floor.test[key], strong=False) for floor in report.floors if key in floor.test]
    bars = [bar for bar in bars if bar.name != report.model and not isnan(bar.value)]
    own, low, high = report.results[f"test/{key}"], None, None
    if name == "ndcg" and len(run.per_user) > 1:
        margin = _mean(run.per_user)[1]
        low, high = own - margin, own + margin
    ranked = sorted([Bar(report.model, own, low, high), *bars], key=lambda bar: -bar.value)
    label = f"{name}@{report.k[0]}"
    said = ", ".join(f"{bar.name} {number(bar.value)}" for bar in ranked)
    caption = "" if low is None else "The line is the model's 95 % interval over users."
    return Panel(label, [Plot(f"floors-{name}", f"{label}: {said}", dots(ranked), caption)])


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by the normal distribution."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, 1.96 * sqrt(spread / len(values))


def _cut_order(cut: str) -> tuple[bool, int]:
    return "sampled" in cut, int(cut.removeprefix("@").partition("_")[0])
