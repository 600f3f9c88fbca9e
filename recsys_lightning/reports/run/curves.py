"""Training curves, out of the logs that `recsys fit` keeps: metrics.csv, and metrics.1.csv and on of restarted runs."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from recsys_lightning.errors import InputError

Row = dict[str, float]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curves:
    """What was logged while a model was trained.

    Attributes:
        along: what the points stand at: `epoch`, or `step` where an epoch was measured more than once.
        loss: of training.
        monitor: name of the figure that selects, e.g. `val/ndcg_10`.
        selected: its values.
        best: the one that was kept; None where nothing was measured.
        rates: learning rates, by their names in the log.
        restarts: how often the training was taken up again.
    """

    along: str
    loss: Points
    monitor: str
    selected: Points
    best: tuple[float, float] | None
    rates: Mapping[str, Points]
    restarts: int


def read_curves(folder: Path, monitor: str = "", mode: str = "max") -> Curves | None:
    """The curves of a run; None where there are no logs of a training.

    Args:
        folder: of `recsys fit`.
        monitor: the figure that selects; the first `val/ndcg` without.
        mode: whether the largest or the smallest is the best, `max` or `min`.

    Raises:
        InputError: a log is damaged.
    """
    logs = [log for file in _logs(folder) if (log := _read(file))]
    rows: list[Row] = []
    for log in logs:  # what a restarted training did anew replaces what it did before
        first = min(row["step"] for row in log)
        rows = [row for row in rows if row["step"] < first] + log
    names = dict.fromkeys(name for row in rows for name in row)
    if not any(name.startswith(("train/", "val/")) for name in names):
        return None
    figures = [name for name in names if name.startswith("val/ndcg_") and "_sampled_" not in name]
    chosen = monitor if monitor in names else next(iter(figures), "")
    at = [row["epoch"] for row in rows if chosen in row]
    along = "epoch" if len(set(at)) == len(at) else "step"
    loss = next((name for name in ("train/loss_epoch", "train/loss", "train/loss_step") if name in names), "")
    if loss == "train/loss_step":
        along = "step"
    selected = _points(rows, chosen, along)
    best = (min if mode == "min" else max)(selected, key=lambda point: point[1], default=None)
    rates = {name: _points(rows, name, along) for name in names if name.startswith("lr-")}
    return Curves(along, _points(rows, loss, along), chosen, selected, best, rates, max(0, len(logs) - 1))


def _logs(folder: Path) -> list[Path]:
    """Oldest first."""
    numbered = [(int(found[1]), file) for file in folder.glob("metrics.*.csv") if (found := _numbered(file))]
    last = folder / "metrics.csv"
    return [file for _, file in sorted(numbered)] + ([last] if last.is_file() else [])


def _numbered(file: Path) -> re.Match[str] | None:
    return re.fullmatch(r"metrics\.(\d+)\.csv", file.name)


def _read(file: Path) -> list[Row]:
    """Rows with the numbers that they have; those that are cut off at the end of a killed run are left out."""
    rows = []
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for line in csv.DictReader(lines):
                row = {
                    name: number for name, value in line.items() if name and value and isfinite(number := float(value))
                }
                if {"epoch", "step"} <= row.keys():
                    rows.append(row)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{file} is damaged: {error}. Mend it, or remove the file: the page is then made without it."
        ) from error
    return rows


def _points(rows: list[Row], name: str, along: str) -> Points:
    """The values of a figure by their place; epochs are counted from 1."""
    shift = 1 if along == "epoch" else 0
    return tuple(sorted({row[along] + shift: row[name] for row in rows if name in row}.items()))
