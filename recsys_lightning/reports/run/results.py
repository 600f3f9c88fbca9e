"""Sections on how good the model is: the headline, beside the floors, all metrics, over users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite, isnan, sqrt

from recsys_lightning.metrics.domains import COUNTS
from recsys_lightning.reports.domains import ALL, Group
from recsys_lightning.reports.ranking import HIGHER_IS_BETTER, RankingReport
from recsys_lightning.reports.run.blocks import Block, Panel, Plot, Section, Table, Text, Tile, Tiles
from recsys_lightning.reports.run.folder import Run
from recsys_lightning.reports.run.plots import Bar, dots, histogram
from recsys_lightning.reports.tables import number

FIGURE = re.compile(r"(?P<name>\w+?)_(?P<cut>\d+(?:_sampled_\d+)?)")
HEADLINE = ("ndcg", "recall", "hit_rate", "coverage")


def headline(run: Run, report: RankingReport) -> list[Block]:
    """What is said first: what must not be overlooked, what was measured on what, and the figures."""
    about = f"Split: {report.split}. Tested: {report.tested}. Models saw the rows of {report.visible or 'train'}."
    blocks: list[Block] = [*report.remarks(), Text(about)]
    if run.facts:
        blocks.append(Text(report.about_the_future()))
    else:
        blocks.append(Text("There is no facts.json: floors and the making of the data are not known. Test it again."))
    if run.tested is not None and run.tested != run.folder:
        several = f", the newest of {run.tests}" if run.tests > 1 else ""
        blocks.append(Text(f"Shown is the test in `{run.tested.name}`{several}."))
    tiles = [_tile(report, name) for name in HEADLINE]
    tiles += [_tile(report, "ndcg", domain) for domain in report.domains]
    tiles += [
        Tile(f"users in {name}" if name else "users", f"{report.users(name):,}") for name in report.domains or ("",)
    ]
    blocks.append(Text(f"Fingerprint `{report.fingerprint}`"))
    return [*blocks, Tiles([tile for tile in tiles if tile is not None])]


def beside_the_floors(run: Run, report: RankingReport) -> Section:
    """The table of the terminal, and dot plots of its main figures."""
    head, rows = report.comparison()
    panels = [Panel("", [Table(head, rows, report.best)], wide=True)]
    if len(rows) > 1:
        panels += [_dot_panel(run, report, name) for name in ("ndcg", "recall")]
    return Section("Beside the floors", panels, "Bold figures are the best of their column." if report.best else "")


def by_domain(report: RankingReport) -> Section | None:
    """How good the model is in each domain, and there for users who are known in one or in several of them."""
    if not report.domains:
        return None
    metric = f"ndcg@{report.k[0]}"
    panels = [Panel("", [Table(*report.by_domain())], wide=True)]
    for name in report.domains:
        own = [group for group in report.groups if group.domain == name and not isnan(group.mean)]
        if not own:
            continue
        bars = [_bar(group) for group in own]
        said = ", ".join(f"{bar.name} {number(bar.value)}" for bar in bars)
        plot = Plot(f"domain-{name}", f"{metric} in {name}, by where users have rows: {said}", dots(bars, metric))
        rows = [[group.name, group.users, group.mean, group.interval] for group in own]
        panels.append(
            Panel(f"Users in {name}", [plot, Table(["visible rows", "users", metric, "95 % interval"], rows)])
        )
    about = (
        "The items of each domain are ranked by themselves. The mean counts domains alike, however many users they "
        "have. Users are set apart by where the rows lie that models saw of them."
    )
    return Section("By domain", panels, about)


def all_metrics(report: RankingReport) -> list[Panel]:
    """Each metric has a row, each cut-off a column, sampled ones under their own names; a panel for each domain."""
    if not report.domains:
        return [_metrics("All metrics", report.figures())]
    together = {name: value for name, value in report.figures().items() if name not in COUNTS}
    of_each = [_metrics(f"All metrics: {name}", report.figures(name)) for name in report.domains]
    return [_metrics("All metrics: mean over the domains", together), *of_each]


def _metrics(title: str, figures: Mapping[str, float]) -> Panel:
    cells: dict[str, dict[str, float]] = {}
    others = []
    for key, value in sorted(figures.items()):
        if found := FIGURE.fullmatch(key):
            cells.setdefault(found["name"], {})[f"@{found['cut']}"] = value
        else:
            others.append((key, int(value) if value.is_integer() else value))
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
    return Panel(title, blocks)


def over_users(run: Run, report: RankingReport) -> list[Panel]:
    """How the headline figure spreads over users, in each domain."""
    return [_spread(name, sorted(values), report.k[0]) for name, values in run.per_user.items() if values]


def _spread(domain: str, values: Sequence[float], k: int) -> Panel:
    title, name = f"Over users in {domain}" if domain else "Over users", f"ndcg@{k}"
    hits = [value for value in values if value > 0]
    nothing = 1 - len(hits) / len(values)
    mean, margin = _mean(values)
    text = (
        f"{nothing:.1%} of {len(values):,} users find none of their held-out items among the first {k}; "
        f"the mean over all is {mean:.4f} (95 % interval {mean - margin:.4f} to {mean + margin:.4f})."
    )
    if not hits:
        return Panel(title, [Text(text)])
    median = hits[len(hits) // 2]
    text += f" Of users with a hit, half have {median:.4f} or more."
    edges = [place / 20 for place in range(21)]
    counts = [0.0] * 20
    for value in hits:
        counts[min(19, int(value * 20))] += 1
    about = f"Histogram of {name} over the {len(hits):,} users with a hit{f' in {domain}' if domain else ''}"
    drawn = histogram(edges, counts, f"{name} of users with a hit", "users", {"median": median})
    return Panel(title, [Plot(f"users-{domain}" if domain else "users", about, drawn), Text(text)])


def _tile(report: RankingReport, name: str, domain: str = "") -> Tile | None:
    """A figure beside the best of the floors."""
    key = f"{name}_{report.k[0]}{f'_{domain}' if domain else ''}"
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
    return Tile(f"{name}@{report.k[0]} {domain}".rstrip(), number(value), note)


def _dot_panel(run: Run, report: RankingReport, name: str) -> Panel:
    key = f"{name}_{report.k[0]}"
    bars = [Bar(floor.name, floor.test[key], strong=False) for floor in report.floors if key in floor.test]
    bars = [bar for bar in bars if bar.name != report.model and not isnan(bar.value)]
    own, low, high = report.results[f"test/{key}"], None, None
    if name == "ndcg":
        low, high = _interval(run, report)
    ranked = sorted([Bar(report.model, own, low, high), *bars], key=lambda bar: -bar.value)
    label = f"{name}@{report.k[0]}"
    said = ", ".join(f"{bar.name} {number(bar.value)}" for bar in ranked)
    caption = "" if low is None else "The line is the model's 95 % interval over users."
    return Panel(label, [Plot(f"floors-{name}", f"{label}: {said}", dots(ranked), caption)])


def _interval(run: Run, report: RankingReport) -> tuple[float | None, float | None]:
    """The 95 % interval of the headline figure."""
    for group in report.groups:
        if not group.domain:
            return _ends(group)
    values = () if report.domains else run.per_user.get("", ())
    if len(values) < 2:
        return None, None
    mean, margin = _mean(values)
    return mean - margin, mean + margin


def _bar(group: Group) -> Bar:
    low, high = _ends(group)
    return Bar(group.name, group.mean, low, high, strong=group.name == ALL)


def _ends(group: Group) -> tuple[float | None, float | None]:
    return (group.low, group.high) if isfinite(group.low) and isfinite(group.high) else (None, None)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by the normal distribution."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, 1.96 * sqrt(spread / len(values))


def _cut_order(cut: str) -> tuple[bool, int]:
    return "sampled" in cut, int(cut.removeprefix("@").partition("_")[0])
