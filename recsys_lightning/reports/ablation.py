"""The table of an ablation: variants of an experiment against a base, with intervals, and what they mean in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import Interval, paired_interval
from recsys_lightning.metrics.domains import macro_values
from recsys_lightning.reports.tables import markdown_table
from recsys_lightning.schema import DOMAIN

USER, ITEMS = "user_id", "items"
"""Columns of the values of users, beside those of metrics: raw id, number of train items. Where there are several
domains, `domain` says in which of them the user was tested."""
AMONG_COLD = "among_cold_"
"""With this before their names: metrics of lists whose candidates are only the items that train has no row of."""
EVERYBODY = "all users"


class Verdicts(NamedTuple):
    """What it means that a variant is worse than the base, not different for all that is known, or better."""

    worse: str
    equal: str
    better: str
    hoped: int = -1
    """The sign of variant - base that shows what is looked at to be of use."""

    def of(self, found: Interval) -> str:
        """The one that an interval of variant - base asks for."""
        return (self.equal, self.better, self.worse)[found.sign]


def without(what: str) -> Verdicts:
    """Verdicts on a variant that lacks something."""
    return Verdicts(f"{what} helps", f"{what}: no difference shown", f"{what} does harm")


def added(what: str) -> Verdicts:
    """Verdicts on a variant that has something more."""
    return Verdicts(f"{what} does harm", f"{what}: no difference shown", f"{what} helps", hoped=1)


def beside(base: str, other: str) -> Verdicts:
    """Verdicts on another model."""
    return Verdicts(f"{base} beats {other}", f"{base} against {other}: no difference shown", f"{other} beats {base}")


class Line(NamedTuple):
    """A line of the table: one variant, or the base itself, and the users that its figure is the mean of."""

    what: str
    variant: str
    over: str
    users: int
    mean: float
    difference: Interval | None  # variant - base; None for the base
    verdict: str
    useful: bool  # whether the verdict is the hoped one


@dataclass(frozen=True)
class _Group:
    name: str
    column: str
    users: NDArray[np.bool_]


def compare(
    what: str,
    base: tuple[str, Sequence[pd.DataFrame]],
    variants: Mapping[str, Sequence[pd.DataFrame]],
    verdicts: Mapping[str, Verdicts],
    metric: str,
) -> list[Line]:
    """Each variant against the base: over all users and over quarters of them by activity.

    Where the base has figures among cold items, these take the place of the quarters. Where users were tested in
    several domains, figures are means over the domains, and each domain has lines of its own.

    Args:
        what: is compared.
        base: name, and the values of its users, a table a seed: `user_id`, `items`, and a column for each metric.
        variants: likewise, by name; one table stands for all seeds where there is nothing random.
        verdicts: on each variant.
        metric: column that is compared.

    Raises:
        InputError: there is no such metric, or the tables are of different users.
    """
    name, tables = base
    if metric not in tables[0]:
        known = ", ".join(str(column) for column in tables[0] if column not in (USER, ITEMS, DOMAIN))
        raise InputError(f"There is no metric {metric} of users; there are {known}.")
    lines = []
    for group in _groups(tables[0], metric):
        ours = _values(tables, tables[0], group)
        lines.append(Line(what, name, group.name, ours.shape[1], float(ours.mean()), None, "base", True))
        for variant, others in variants.items():
            theirs = np.broadcast_to(_values(others, tables[0], group), ours.shape)
            found = paired_interval(theirs, ours)
            words, mean = verdicts[variant], float(theirs.mean())
            useful = found.sign == words.hoped
            lines.append(Line(what, variant, group.name, ours.shape[1], mean, found, words.of(found), useful))
    return lines


class Training(NamedTuple):
    """How long a training took, the ranking of val after each epoch included."""

    seconds: float
    epochs: int


def report(
    title: str, lines: Sequence[Line], metric: str, seeds: int, about: str = "", sections: Sequence[str] = ()
) -> str:
    """The table, what it rests on, and what does not help, in Markdown.

    Args:
        title: of the report.
        lines: of all comparisons.
        metric: that they are about.
        seeds: trainings of each variant.
        about: the base, in words.
        sections: what comes behind, in Markdown.
    """
    head = ("what", "variant", "over", "users", metric, "difference", "95 % interval", "verdict")
    rows = [(*line[:5], *_shown(line.difference), line.verdict) for line in lines]
    compared = [line for line in lines if line.difference is not None]
    mean = f"the mean over {seeds} seeds" if seeds > 1 else "of one seed: the intervals know nothing of other trainings"
    parts = [
        f"# {title}",
        about,
        f"{metric} on test by full ranking, {mean}. Lines over cold items alone rank among the items that train has no "
        "row of, which is easier. Differences are variant minus base on the same users, with intervals bootstrapped "
        f"over users and seeds. Chance alone lets about {len(compared) / 20:.1f} of these {len(compared)} intervals "
        "leave zero.",
        markdown_table(head, rows),
        "## What does not help",
        "\n".join(_failures(compared)) or "Everything that was tried helps, wherever it was looked at.",
        *sections,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def training_section(times: Mapping[tuple[str, str], Sequence[Training]]) -> str:
    """How long variants trained, in Markdown.

    Args:
        times: by what is compared and variant, an entry a seed.
    """
    rows = [
        (
            *names,
            float(np.mean([training.seconds for training in trainings])),
            float(np.mean([training.epochs for training in trainings])),
            sum(training.seconds for training in trainings) / sum(training.epochs for training in trainings),
        )
        for names, trainings in times.items()
    ]
    table = markdown_table(("what", "variant", "seconds", "epochs", "seconds per epoch"), rows)
    return f"## Time of training\n\nMeans over seeds; val is ranked after each epoch within this time.\n\n{table}"


def quarters(sizes: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
    """Masks (N,) of those of each quarter by size, smallest first; fewer than four where many are of one size."""
    place = np.searchsorted(np.quantile(sizes, [0.25, 0.5, 0.75]), sizes) if len(sizes) else sizes
    for quarter in np.unique(place):
        yield place == quarter


def _failures(lines: Sequence[Line]) -> Iterator[str]:
    """Where a variant shows what it lacks, or the base itself, to be of no use: a verdict a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if not line.useful:
            found.setdefault((line.verdict, line.what), []).append(line.over)
    for (verdict, what), places in sorted(found.items(), key=lambda entry: EVERYBODY not in entry[1]):
        yield f"- {verdict} ({what}: {'; '.join(places)})"


def _groups(values: pd.DataFrame, metric: str) -> Iterator[_Group]:
    everybody, items = np.ones(len(values), bool), values[ITEMS].to_numpy()
    yield _Group(EVERYBODY, metric, everybody)
    if f"{AMONG_COLD}{metric}" in values:
        yield _Group("all users, cold items alone", f"{AMONG_COLD}{metric}", everybody)
        return
    for domain in values[DOMAIN].unique() if DOMAIN in values else ():
        yield _Group(f"users in {domain}", metric, (values[DOMAIN] == domain).to_numpy())
    for users in quarters(items):
        yield _Group(f"users with {items[users].min()} to {items[users].max()} items", metric, users)


def _values(tables: Sequence[pd.DataFrame], like: pd.DataFrame, group: _Group) -> NDArray[np.float64]:
    """(S, U) values of the group's users, in the order of the table `like`; of several domains, see `macro_values`."""
    key = [USER, DOMAIN] if DOMAIN in like else [USER]
    wanted, stacked = pd.MultiIndex.from_frame(like[key]), []
    for table in tables:
        missing = not set(key) <= set(table) or len(table) != len(like)
        if missing or (found := pd.MultiIndex.from_frame(table[key])).symmetric_difference(wanted).size:
            raise InputError("The runs tested different users, so they cannot be compared: their data options differ.")
        values = table[group.column].set_axis(found).reindex(wanted).to_numpy(np.float64)
        stacked.append(values[group.users])
    if DOMAIN not in like:
        return np.stack(stacked)
    inside = like[group.users]
    return macro_values(np.stack(stacked), inside[USER].to_numpy(str), inside[DOMAIN].to_numpy(str))


def _shown(found: Interval | None) -> tuple[str, str]:
    return ("", "") if found is None else (f"{found.mean:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}")
