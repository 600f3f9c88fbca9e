"""What a search found: its trials as a table, as a CSV file, and as commands."""

from __future__ import annotations

import csv
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_lightning.atomic import replacing
from recsys_lightning.reports.tables import text_table

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FILE = "trials.csv"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        number: of the trial.
        state: complete, pruned, failed, or stopped where the search ended first.
        value: best of the metric; None where nothing was measured.
        epochs: that were validated.
        seconds: that it took.
        run: its folder.
        reason: why it failed.
        options: what was chosen, by name.
    """

    number: int
    state: str
    value: float | None
    epochs: int
    seconds: float
    run: str
    reason: str
    options: dict[str, Any]


def outcome(trial: FrozenTrial) -> Outcome:
    """What became of a trial of a study."""
    notes, state = trial.user_attrs, trial.state.name.lower()
    failed = "failed" if notes.get("reason") else "stopped"
    return Outcome(
        number=trial.number,
        state=state if state in ("complete", "pruned") else failed,
        value=notes.get("value"),
        epochs=notes.get("epochs", 0),
        seconds=notes.get("seconds", 0.0),
        run=notes.get("run", ""),
        reason=notes.get("reason", ""),
        options=trial.params,
    )


def outcomes(study: Study, maximize: bool) -> list[Outcome]:
    """All trials, the best first; those without a value last."""

    def place(one: Outcome) -> tuple[bool, float, int]:
        value = one.value or 0.0
        return one.value is None, -value if maximize else value, one.number

    return sorted((outcome(trial) for trial in study.get_trials(deepcopy=False)), key=place)


def line(one: Outcome, metric: str) -> str:
    """A trial, when it has ended."""
    chosen = " ".join(f"{name}={_short(value)}" for name, value in short(one.options).items())
    if one.value is None:
        return f"trial {one.number}: {chosen}: {one.state}{one.reason and f', {one.reason}'}"
    mark = "" if one.state == "complete" else f", {one.state}"
    epochs = f"{one.epochs} epoch{'' if one.epochs == 1 else 's'}"
    return f"trial {one.number}: {chosen}: {metric} {one.value:.4f}, {epochs}, {one.seconds:.1f} s{mark}"


def short(options: dict[str, Any]) -> dict[str, Any]:
    """The same options by as few words of their names as tell them apart."""
    names = {}
    for name in options:
        parts = name.split(".")
        for size in range(1, len(parts) + 1):
            brief = ".".join(parts[-size:])
            if sum(other == brief or other.endswith(f".{brief}") for other in options) == 1:
                break
        names[brief] = options[name]
    return names


def table(found: Sequence[Outcome], metric: str, folder: Path) -> str:
    """All trials, for a terminal."""
    names = list(short(found[0].options)) if found else []
    header = ("trial", metric, "state", "epochs", "s", *names, "run")
    rows = [
        (
            str(one.number),
            one.value,
            one.state,
            one.epochs,
            f"{one.seconds:.1f}",
            *(_short(value) for value in one.options.values()),
            os.path.relpath(one.run, folder) if one.run else "",
        )
        for one in found
    ]
    return text_table(header, rows)


def write_csv(path: Path, found: Sequence[Outcome], metric: str) -> None:
    """All trials with the full names of their options, written whole or not at all."""
    names = list(found[0].options) if found else []
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", metric, "epochs", "seconds", "run", "reason", *names])
        for one in found:
            about = [one.number, one.state, one.value, one.epochs, one.seconds, one.run, one.reason]
            writer.writerow([*about, *one.options.values()])


def commands(best: Outcome, metric: str, options: Sequence[str]) -> str:
    """What was best, and how to go on with it."""
    run = Path(best.run)
    checkpoint = run / "checkpoints" / "best.ckpt"
    test = ["recsys", "test", "--config", str(run / "config.yaml")]
    lines = [f"best: trial {best.number}, {metric} {best.value:.4f}", f"  {shlex.join(options)}"]
    if checkpoint.is_file():
        test += ["--ckpt_path", str(checkpoint)]
        lines.append(f"fit it again: {shlex.join(['recsys', 'fit', '--config', str(run / 'config.yaml')])}")
    return "\n".join([*lines, f"test it: {shlex.join(test)}"])


def _short(value: object) -> object:
    """Numbers that are drawn have more digits than a table needs."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
