"""How good recommendations of new items are when k rows of each are known: the cold-start curve.

    python experiments/shots.py --config experiments/goodbooks/two_tower.yaml --seeds 3 --to RUN

A tenth of the items is held out with all rows for val, another for test. Train gets the first k rows of each, k = 0,
1, 2, 5 and 10, and the rows that are tested are the same for every k. The model is trained anew for each, and stands
beside its embeddings alone, its metadata alone, and closed forms. Runs lie in `runs/ablation/`, as those of
`ablation.py`. The table is printed and written beside them; with --to the curve is written into a run's folder as
`shots.json`, where `recsys report` shows it. Options that are not known here go to every run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from commands import carry_out, folder_in, folder_of, parser_of
from comparisons import SHOTS, Experiment, Variant, shots
from measuring import OF_MODEL, data_of, measure

from recsys_lightning.callbacks.results import write_json
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import Interval, mean_interval, paired_interval
from recsys_lightning.reports.ablation import AMONG_COLD, USER
from recsys_lightning.reports.tables import markdown_table

OVER = {"": "among all items", AMONG_COLD: "among the held-out items alone"}
"""What items are ranked; prefixes of the columns of metrics."""
Values = dict[str, np.ndarray]
"""(seeds, users) by prefix of the metric."""


def curve(given: argparse.Namespace, options: Sequence[str]) -> str:
    """Do the runs that are not there yet; the report.

    Raises:
        InputError: an option cannot be used.
    """
    if given.seeds < 1 or not given.k or min(given.k) < 0 or max(given.k) > max(SHOTS):
        raise InputError(f"--seeds must be at least 1, and each --k from 0 to {max(SHOTS)}.")
    if given.to is not None and not given.to.is_dir():
        raise InputError(f"--to {given.to} is no folder. Name the folder of a run.")
    experiment = Experiment.read(given.config)
    if experiment.model != "TwoTower":
        raise InputError(f"--config {given.config} is of {experiment.model}; the curve is made of TwoTower.")
    metric = experiment.monitor.removeprefix("val/")
    folder = folder_of(given)
    found = {
        k: {one.name: _values(one, given.seeds, options, folder / f"shots_{k}", metric) for one in shots(experiment, k)}
        for k in sorted(set(given.k))
    }
    text = _report(given, metric, found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shots.md").write_text(text, encoding="utf-8")
    if given.to is not None:
        write_json(given.to / "shots.json", _curves(metric, found))
    return text


def _values(variant: Variant, seeds: int, options: Sequence[str], folder: Path, metric: str) -> Values:
    seeds = seeds if variant.trained else 1
    data = data_of(*(word for word in (*variant.options, *options) if not word.startswith(OF_MODEL)))
    place = folder_in(folder, variant)
    tables = [measure(variant, seed, options, place / f"seed_{seed}", True, data).values for seed in range(seeds)]
    return {over: np.stack([table.sort_values(USER)[f"{over}{metric}"] for table in tables]) for over in OVER}


def _report(given: argparse.Namespace, metric: str, found: dict[int, dict[str, Values]]) -> str:
    seeds = "of one seed" if given.seeds == 1 else f"mean over {given.seeds} seeds"
    parts = [
        f"# New items with k rows: {given.config.parent.name}/{given.config.name}",
        f"{metric} of test, {seeds} with its 95 % interval over users and seeds; the last column "
        "is the model minus that line, on the same users.",
    ]
    for over, words in OVER.items():
        rows = []
        for k, models in found.items():
            base, *others = ((name, values[over]) for name, values in models.items())
            rows.append((k, base[0], base[1].shape[1], *_shown(mean_interval(base[1])), ""))
            for name, theirs in others:
                difference = paired_interval(base[1], np.broadcast_to(theirs, base[1].shape))
                mean, interval = _shown(difference)
                rows.append((k, name, theirs.shape[1], *_shown(mean_interval(theirs)), f"{mean:+.4f}, {interval}"))
        head = ("k", "model", "users", metric, "95 % interval", "model minus this")
        parts += [f"## Ranked {words}", markdown_table(head, rows)]
    return "\n\n".join(parts) + "\n"


def _shown(found: Interval) -> tuple[float, str]:
    return found.mean, f"{found.low:.4f} to {found.high:.4f}"


def _curves(metric: str, found: dict[int, dict[str, Values]]) -> dict[str, object]:
    """As reports show it."""
    names = next(iter(found.values()))
    curves = []
    for name in names:
        points = []
        for k, models in found.items():
            interval = mean_interval(models[name][AMONG_COLD])
            points.append({"k": k, "value": interval.mean, "low": interval.low, "high": interval.high})
        curves.append({"model": name, "points": points})
    return {"metric": metric, "what": f"new items with k rows, ranked {OVER[AMONG_COLD]}", "curves": curves}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    parser = parser_of(str(__doc__), "the experiment, of TwoTower", "trainings of each model")
    parser.add_argument("--k", type=int, nargs="+", default=list(SHOTS), help="rows of each new item [0 1 2 5 10]")
    parser.add_argument("--to", type=Path, help="folder of a run, for shots.json")
    return carry_out("shots", parser, curve, arguments)


if __name__ == "__main__":
    sys.exit(main())
