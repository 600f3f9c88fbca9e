"""Tested runs set against one of them: what differs on the same users, how sure that is, and what is claimed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.metrics.bootstrap import Interval, paired_interval
from recsys_lightning.metrics.buckets import bins
from recsys_lightning.metrics.significance import chance, effect_size, holm
from recsys_lightning.reports.tables import DASH, markdown_table, number
from recsys_lightning.reports.tested import DAYS, NOT_LATER, POPULARITY, ROWS, Tested, headline, refuse_metric
from recsys_lightning.schema import DOMAIN

LEVEL = 0.05
BINS = 4
"""Groups of users by each column of `GROUPED`, without that of zeros."""
GROUPED = {
    ROWS: "users with {} row{}",
    POPULARITY: "users whose held-out items have {} train row{}",
    DAYS: "users whose held-out rows begin {} day{} later",
}
"""What groups are called by the columns that tell of users. Genres are left out: users have several at once, so that
their groups would be much the same users, and each comparison more makes Holm's correction stricter for all."""
WRITTEN = {ROWS: "their rows", POPULARITY: "the popularity of their held-out items"}
"""Of these, what every test writes."""
EVERYBODY = "all users"
HEAD = ("metric", "over", "users", "base", "run", "difference", "95 % interval", "p", "p, Holm", "d_z", "claimed")
COLUMNS = (
    "metric", "over", "users", "base", "run", "mean of base", "mean of run", "difference", "low", "high", "p", "p_holm",
    "effect_size", "claimed",
)  # fmt: skip
"""Of a table for programs."""
METHOD = """\
Differences are run minus base on the same users. Intervals of 95 % are paired bootstraps{over}; they are of each
comparison alone. p is of paired t tests; Holm's correction is for all {number} comparisons of these tables together.
Claimed is what has p <= {level} after it, and an interval without 0. d_z is the mean difference over the standard
deviation of the users' differences: unlike p, it does not depend on how many users there are. What is not claimed is
not shown to be equal: the interval says how large the difference may be."""


class Line(NamedTuple):
    """A run against the base: one metric, over some users."""

    metric: str
    over: str
    users: int
    base: str
    run: str
    mean_of_base: float
    mean: float
    difference: Interval
    p: float
    holm: float
    effect: float

    @property
    def claimed(self) -> int:
        """1 where the run is claimed to be above the base, -1 where below, 0 where nothing is claimed."""
        return self.difference.sign if self.holm <= LEVEL else 0

    @property
    def plain(self) -> list[object]:
        """The cells of `COLUMNS`; None for what is no number."""
        numbers = [self.mean_of_base, self.mean, *self.difference, self.p, self.holm, self.effect]
        shown = [value if isfinite(value) else None for value in numbers]
        return [self.metric, self.over, self.users, self.base, self.run, *shown, bool(self.claimed)]


class Comparison(NamedTuple):
    """All lines: of whole metrics, and of the first metric by groups of users; and what must be said of them."""

    runs: Sequence[Tested]
    metrics: Sequence[Line]
    groups: Sequence[Line]
    remarks: Sequence[str]

    @property
    def lines(self) -> list[Line]:
        """Of both tables."""
        return [*self.metrics, *self.groups]


def compare(runs: Sequence[Tested], metrics: Sequence[str] = ()) -> Comparison:
    """All runs against the first.

    Args:
        runs: two or more, as `read_all` gives them.
        metrics: columns of values of users; ndcg and recall at the least common cut-off without. Groups of users are
            compared by the first.

    Raises:
        InputError: a run has no such metric.
    """
    metrics = list(metrics) or headline(runs)
    for metric in metrics:
        refuse_metric(runs, metric)
    everybody = np.ones(len(runs[0].tables[0]), bool)
    cells = [(metric, EVERYBODY, everybody) for metric in metrics]
    cells += [(metrics[0], name, users) for name, users in _groups(runs)]
    lines = [_line(runs, run, *cell) for cell in cells for run in runs[1:]]
    adjusted = holm([line.p for line in lines])
    lines = [line._replace(holm=p) for line, p in zip(lines, adjusted, strict=True)]
    first = len(metrics) * (len(runs) - 1)
    return Comparison(runs, lines[:first], lines[first:], list(_remarks(runs)))


def markdown(found: Comparison) -> str:
    """The whole comparison in Markdown."""
    base, *others = found.runs
    seeds = max(len(run.folders) for run in found.runs)
    over = " over users and seeds" if seeds > 1 else " over users"
    method = METHOD.format(over=over, number=len(found.lines), level=LEVEL)
    parts = [
        f"# {', '.join(run.name for run in others)} against {base.name}",
        *(f"**{remark}**" for remark in found.remarks),
        "\n".join(f"- {sentence}" for sentence in _sentences(found.metrics)),
        markdown_table(HEAD, [_row(line) for line in found.metrics]),
    ]
    if found.groups:
        parts += [f"## {found.groups[0].metric} by groups of users", _claimed_of_groups(found.groups)]
        parts += [markdown_table(HEAD, [_row(line) for line in found.groups]), *_without_days(found.runs)]
    runs = [[run.name, len(run.folders), ", ".join(map(str, run.folders))] for run in found.runs]
    parts += ["## Runs", markdown_table(("run", "tests", "folders"), runs)]
    parts += [f"Fingerprint `{base.fingerprint}`; models saw the rows of {base.views}.", " ".join(method.split())]
    return "\n\n".join(parts) + "\n"


def latex(found: Comparison) -> str:
    """Both tables in LaTeX, for a document that uses booktabs; claimed differences are bold."""
    base, *others = found.runs
    names = _safe(f"{', '.join(run.name for run in others)} against {base.name}")
    about = (
        f"{names}: paired by user, 95\\,\\% bootstrap intervals, p of paired t tests after Holm's correction for "
        f"{len(found.lines)} comparisons, effect size $d_z$; claimed differences are bold."
    )
    parts = [_tabular(found.metrics, about)]
    if found.groups:
        metric = _safe(found.groups[0].metric)
        parts.append(_tabular(found.groups, f"{names}: {metric} by groups of users; as above."))
    return "\n".join(["% \\usepackage{booktabs}", *parts])


def _groups(runs: Sequence[Tested]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Users of each domain, and by what is known of them."""
    table = runs[0].tables[0]
    for domain in table[DOMAIN].unique() if DOMAIN in table else ():
        yield f"users in {domain}", (table[DOMAIN] == domain).to_numpy()
    for column, name in GROUPED.items():
        if (values := _column(runs, column)) is None:
            continue
        known = np.isfinite(values)
        by = bins(values[known].astype(np.int64), BINS)
        for place, group in enumerate(by.names):
            users = known.copy()
            users[known] = by.code == place
            yield name.format(group, "" if group == "1" else "s"), users


def _column(runs: Sequence[Tested], name: str) -> NDArray[np.float64] | None:
    """What is known of the users of all runs, which any of them may have written; NaN for some."""
    tables = (table for run in runs for table in run.tables)
    return next((table[name].to_numpy(np.float64, na_value=np.nan) for table in tables if name in table), None)


def _line(runs: Sequence[Tested], run: Tested, metric: str, over: str, users: NDArray[np.bool_]) -> Line:
    for table in (table for other in runs for table in other.tables):
        users = users & np.isfinite(table[metric].to_numpy(np.float64))  # diversity and the like: not all have any
    base, ours = runs[0].values(metric, users), run.values(metric, users)
    shape = np.broadcast_shapes(base.shape, ours.shape)
    pair = np.broadcast_to(ours, shape), np.broadcast_to(base, shape)
    p, effect = chance(*pair), effect_size(*pair)
    nothing = Interval(float("nan"), -np.inf, np.inf)
    difference = paired_interval(*pair) if shape[1] else nothing
    means = [float(values.mean()) if shape[1] else float("nan") for values in (base, ours)]
    return Line(metric, over, shape[1], runs[0].name, run.name, means[0], means[1], difference, p, p, effect)


def _remarks(runs: Sequence[Tested]) -> Iterator[str]:
    for run in runs:
        yield from run.remarks
    single = [run.name for run in runs if run.trained and len(run.folders) == 1]
    if single:
        yield (
            f"One training of {', '.join(single)}: intervals and p know nothing of its other trainings. `recsys seeds` "
            "makes some."
        )
    if any(len(run.folders) == 2 for run in runs):
        yield (
            "Two seeds say little of others: where trainings differ much, about 10 % of differences that are none "
            "are claimed. Give three or more."
        )
    lacking = [what for column, what in WRITTEN.items() if _column(runs, column) is None]
    if lacking:
        yield f"Users are not grouped by {' and '.join(lacking)}: older versions tested these runs. Test one again."


def _without_days(runs: Sequence[Tested]) -> list[str]:
    days = _column(runs, DAYS)
    missing = 0 if days is None else int(np.isnan(days).sum())
    if days is None or not missing:
        return []
    counted = ", each counted in each domain," if runs[0].several else ""
    return [f"{missing:,} of {len(days):,} users{counted} are in no group by days: {NOT_LATER}."]


def _sentences(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        if line.claimed:
            share = f", {line.difference.mean / line.mean_of_base:+.1%}" if line.mean_of_base > 0 else ""
            yield (
                f"{line.run} is {_side(line)} than {line.base} in {line.metric}: {line.difference.mean:+.4f}{share} "
                f"({_interval(line)}; p {_p(line.holm)} by Holm; d_z {_effect(line)})."
            )
        else:
            yield (
                f"No difference of {line.run} and {line.base} in {line.metric} is claimed: "
                f"{line.difference.mean:+.4f} ({_interval(line)}; p {_p(line.holm)} by Holm)."
            )


def _claimed_of_groups(lines: Sequence[Line]) -> str:
    claimed: dict[str, list[str]] = {}
    for line in lines:
        if line.claimed:
            claimed.setdefault(f"{line.run} is {_side(line)}", []).append(line.over)
    said = [f"{what} for {', '.join(over)}" for what, over in claimed.items()]
    return f"Claimed: {'; '.join(said)}." if said else "Of no group is a difference claimed."


def _side(line: Line) -> str:
    return "higher" if line.claimed > 0 else "lower"


def _row(line: Line) -> list[object]:
    shown = f"{line.difference.mean:+.4f}" if line.users else DASH
    chances = [_p(line.p), _p(line.holm), _effect(line)]
    claimed = f"{line.run} is {_side(line)}" if line.claimed else ""
    means = [f"{line.base} {number(line.mean_of_base)}", f"{line.run} {number(line.mean)}"]
    return [line.metric, line.over, line.users, *means, shown, _interval(line), *chances, claimed]


def _interval(line: Line) -> str:
    _, low, high = line.difference
    return f"{low:+.4f} to {high:+.4f}" if isfinite(low) and isfinite(high) else DASH


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _effect(line: Line) -> str:
    return f"{line.effect:+.3f}" if isfinite(line.effect) else DASH


def _tabular(lines: Sequence[Line], caption: str) -> str:
    head = " & ".join(_safe(name) for name in HEAD[:-1])
    rows = []
    for line in lines:
        cells = [_safe(number(cell)) for cell in _row(line)[:-1]]
        if line.claimed:
            cells[5] = f"\\textbf{{{cells[5]}}}"
        rows.append(" & ".join(cells) + " \\\\")
    body = "\n".join(rows)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{llrllrlrrr}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
        f"\\caption{{{caption}}}\n\\end{{table}}\n"
    )


def _safe(text: str) -> str:
    """A text as LaTeX shows it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    special |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: special[found[0]], text).replace(DASH, "--")
