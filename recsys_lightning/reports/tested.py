"""Tested runs that are set side by side: what they hold of each user, and whether they can be compared at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.errors import InputError
from recsys_lightning.metrics.domains import macro_values
from recsys_lightning.reports.run.folder import FACTS, METRICS, PER_USER, newest_run
from recsys_lightning.reports.run.values import Values, read_json
from recsys_lightning.reports.trainings import refuse_no_seeds
from recsys_lightning.schema import DOMAIN, SPLITS, USER_ID

ROWS = "rows"
"""Column with the number of rows that the model saw of a user."""
POPULARITY, DAYS = "popularity", "days"
"""Columns with the mean train rows of the items held out of a user, and with the days from the newest row that the
model saw to the first of these."""
NOT_LATER = "the first row held out of them is earlier than the newest that the model saw of them, or it saw none"
"""Of users who have no days."""
NO_METRICS = (USER_ID, DOMAIN, ROWS, POPULARITY, DAYS)
"""Columns that tell of a user, and not of a model."""
HEADLINE = ("ndcg", "recall")
CUT = re.compile(r"ndcg_(\d+)")


@dataclass(frozen=True)
class Tested:
    """One model: its tests under one or several seeds, on the same users in the same order.

    Attributes:
        name: of the model, with a number where several have the same.
        folders: of `recsys test`, one a seed.
        tables: of users, likewise: `user_id`, `domain` where there are several, `rows`,
            `popularity` and `days` as far as they are known, a column for each metric.
        fingerprint: of the data.
        views: rows that the model saw: `train` or `train+val`.
        trained: whether there is anything random in it.
        remarks: what must be said of these tests.
    """

    name: str
    folders: tuple[Path, ...]
    tables: tuple[pd.DataFrame, ...]
    fingerprint: str
    views: str
    trained: bool
    remarks: tuple[str, ...]

    @property
    def cuts(self) -> list[int]:
        """Cut-offs that all its tests have, ascending."""
        found = [{int(cut[1]) for name in table if (cut := CUT.fullmatch(str(name)))} for table in self.tables]
        return sorted(set.intersection(*found))

    @property
    def several(self) -> bool:
        """Whether users were tested in several domains."""
        return DOMAIN in self.tables[0]

    @property
    def pairs(self) -> list[tuple[Path, pd.DataFrame]]:
        """Folders with their tables."""
        return list(zip(self.folders, self.tables, strict=True))

    def values(self, metric: str, users: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(S, U) values of the chosen rows of the tables, whose mean is the figure that a test reports.

        Of several domains they are those of `macro_values`, and U is the number of users, each counted once.
        """
        chosen = self.tables[0][users]
        found = np.stack([table.loc[users, metric].to_numpy(np.float64) for table in self.tables])
        if not self.several or not len(chosen):
            return found
        return macro_values(found, chosen[USER_ID].to_numpy(str), chosen[DOMAIN].to_numpy(str))


def read_all(words: Sequence[str]) -> list[Tested]:
    """Read runs that are to be compared.

    Args:
        words: each the folder of a test, or those of several seeds with commas between.

    Raises:
        InputError: a folder holds no test, the runs are of different data, users or views, or seeds are of different
            models or of one training.
    """
    groups = [tuple(Path(folder) for folder in word.split(",") if folder) for word in words]
    _refuse_twice(folder for group in groups for folder in group)
    first = _read(groups[0], None)
    found = [first, *(_read(group, first) for group in groups[1:])]
    _refuse_seeds(found)
    names = [run.name for run in found]
    return [
        run if names.count(run.name) == 1 else replace(run, name=f"{run.name} {1 + names[:place].count(run.name)}")
        for place, run in enumerate(found)
    ]


def refuse_other_data(folders: Sequence[Path]) -> None:
    """Refuse tests on data that differ in more than that some are given one domain of several (`data.recipe.only`).

    Raises:
        InputError: name, split, the rows that both go back to, fingerprint or views differ.
    """
    firsts: dict[str, tuple[Path, str]] = {}
    for folder in folders:
        metrics, steps = read_json(folder / METRICS), read_json(folder / FACTS)["steps"]
        split, _, only = metrics["split"].text().partition(", only ")
        sizes = {step["name"].text(): step["rows"].text() for step in steps}
        last = [f"{rows} rows after {name}" for name, rows in sizes.items() if name not in (f"only {only}", *SPLITS)]
        shared = "; ".join([metrics["data"].text(), split, *last[-1:]])
        compared = {
            "data": ("data", shared),
            f"fingerprint {only}": ("data: their fingerprints differ", metrics["fingerprint"].text()),
            "views": ("views: what models saw when they were tested differs", metrics["test_views"].text()),
        }
        for key, (what, value) in compared.items():
            first, wanted = firsts.setdefault(key, (folder, value))
            _refuse_other(what, first, wanted, folder, value)


def refuse_metric(runs: Sequence[Tested], metric: str) -> None:
    """Refuse a metric that not all runs have.

    Raises:
        InputError: one has it not.
    """
    for run in runs:
        for folder, table in run.pairs:
            if metric not in table or metric in NO_METRICS:
                known = ", ".join(str(name) for name in table if name not in NO_METRICS)
                raise InputError(f"{folder} has no {metric} of users; it has {known}. Choose one with --metric.")


def headline(runs: Sequence[Tested]) -> list[str]:
    """The metrics that a comparison is about unless others are asked for: at the least cut-off that all runs have.

    Raises:
        InputError: they have none in common.
    """
    common = sorted(set.intersection(*(set(run.cuts) for run in runs)))
    if not common:
        shown = "; ".join(f"{run.name} {', '.join(map(str, run.cuts)) or 'none'}" for run in runs)
        raise InputError(f"The runs have no cut-off in common ({shown}). Test them with the same model.k.")
    return [f"{name}_{common[0]}" for name in HEADLINE]


def _read(folders: tuple[Path, ...], like: Tested | None) -> Tested:
    """One model; its users in the order of those of another, which must have been tested on the same."""
    if not folders:
        raise InputError("A RUN without a folder was given; name folders of `recsys test`, seeds with commas between.")
    runs = [_files(folder) for folder in folders]
    models = {metrics["model"].text() for metrics, _, _ in runs}
    if len(models) > 1:
        raise InputError(
            f"{','.join(map(str, folders))} are to be one model under several seeds, and are of "
            f"{', '.join(sorted(models))}. Put a space between runs of different models."
        )
    tables: list[pd.DataFrame] = []
    wanted = None if like is None else (like.folders[0], like.tables[0], like.fingerprint, like.views)
    for folder, (metrics, _, table) in zip(folders, runs, strict=True):
        fingerprint, views = metrics["fingerprint"].text(), metrics["test_views"].text()
        wanted = wanted or (folder, table, fingerprint, views)
        _refuse_other("data: their fingerprints differ", wanted[0], wanted[2], folder, fingerprint)
        _refuse_other("views: what models saw when they were tested differs", wanted[0], wanted[3], folder, views)
        tables.append(_aligned(wanted[0], wanted[1], folder, table))
    assert wanted is not None
    checkpoints = [metrics["checkpoint"].text() for metrics, _, _ in runs]
    refuse_no_seeds(folders, checkpoints)
    said = [remark for folder, run in zip(folders, runs, strict=True) for remark in _remarks(folder, *run)]
    return Tested(models.pop(), folders, tuple(tables), wanted[2], wanted[3], any(checkpoints), tuple(said))


def _files(folder: Path) -> tuple[Values, Values, pd.DataFrame]:
    """Figures, facts, and values of users of a test."""
    if not folder.is_dir():
        what = "is a file: name the folder that it lies in" if folder.exists() else "is not there"
        raise InputError(f"{folder} {what}. A RUN is the folder of `recsys test`, e.g. runs/world-mf/version_1.")
    for name in (METRICS, FACTS, PER_USER):
        if not (folder / name).is_file():
            newest = newest_run(folder)
            hint = f"Name a run in it; the newest is {newest}." if newest else "Name one, or test the run again."
            raise InputError(f"{folder} has no {name}, which every folder of `recsys test` has. {hint}")
    import pyarrow

    try:
        table = pd.read_parquet(folder / PER_USER)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{folder / PER_USER} is damaged: {problem}. Test the run again.") from error
    if USER_ID not in table or not len(table):
        raise InputError(f"{folder / PER_USER} holds no users. Test the run again.")
    return read_json(folder / METRICS), read_json(folder / FACTS), table


def _refuse_other(what: str, first: Path, one: str, second: Path, other: str) -> None:
    if one != other:
        raise InputError(
            f"Runs of different {what}.\n  {first}: {one or 'unknown'}\n  {second}: {other or 'unknown'}\n"
            "Only runs that were tested on the same are compared: give them the same data options, and test again."
        )


def _aligned(first: Path, like: pd.DataFrame, folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its users in the order of another."""
    key = [name for name in (USER_ID, DOMAIN) if name in like]
    if table is like:
        return table.reset_index(drop=True)
    found = pd.MultiIndex.from_frame(table[key]) if set(key) <= set(table) else None
    wanted = pd.MultiIndex.from_frame(like[key])
    if found is None or (DOMAIN in table) != (DOMAIN in like) or found.symmetric_difference(wanted).size:
        raise InputError(
            f"{first} tested {len(like):,} users and {folder} tested {len(table):,}, which are not the same. Only "
            "values of the same users are compared: test both without --trainer.limit_test_batches."
        )
    return table.set_axis(found).reindex(wanted).reset_index(drop=True)


def _refuse_twice(folders: Iterable[Path]) -> None:
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise InputError(f"{folder} is given twice: a run is not compared with itself, and is one seed only.")
        seen.add(folder.resolve())


def _refuse_seeds(runs: Sequence[Tested]) -> None:
    """Refuse several numbers of seeds: what differs by seed is compared seed by seed; one test stands for all."""
    numbers = {len(run.folders): run for run in runs if len(run.folders) > 1}
    if len(numbers) > 1:
        shown = ", ".join(f"{number} of {run.name}" for number, run in numbers.items())
        raise InputError(f"There are {shown}: give as many seeds of each run, or one.")


def _remarks(folder: Path, metrics: Values, facts: Values, table: pd.DataFrame) -> list[str]:
    found = []
    if metrics["looked_at_test"].flag():
        found.append(
            f"WATERMARK: {folder} looked at test before its training had ended: its figures are chosen, not measured."
        )
    held_out = facts["held_out"].whole()
    if held_out and held_out > len(table):
        found.append(f"PARTIAL: {folder} tested {len(table):,} of {held_out:,} users.")
    return found
