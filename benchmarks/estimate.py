"""How far `recsys estimate` is from what `recsys fit` and `recsys test` then take.

    python benchmarks/estimate.py [EXPERIMENT ...] [--seconds 3]

Each experiment is estimated, and then really run, in processes of their own: two epochs of a training, the test of a
closed form. Compared are the largest resident memory of the process, and the seconds of the second epoch, or of the
test from taking the data to the figures: CPU seconds, which others on the machine hardly change, and those of the
clock. A ratio is estimated to measured.

Goal: from 0.7 to 1.3 each. Recorded in README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from recsys_lightning.reports.tables import text_table

ROOT = Path(__file__).parent.parent / "experiments"
SHIPPED = (
    "movietweetings/mf",
    "movietweetings/lightgcn",
    "movietweetings/gat",
    "movietweetings/genre_gat",
    "movietweetings/ease",
    "movietweetings/gfcf",
    "movietweetings/itemknn",
    "ml-100k/mf",
    "ml-100k/lightgcn",
    "ml-100k/gat",
    "ml-100k/ease",
    "movietweetings-domains/mf",
    "movietweetings-domains/lightgcn",
    "movietweetings-domains/emcdr",
)
GOAL = (0.7, 1.3)
MB = 10**6
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


class Figures(NamedTuple):
    """Of one experiment."""

    memory: float  # bytes
    cpu: float  # seconds of an epoch, or of a test
    wall: float


def estimated(file: Path, seconds: float) -> tuple[Figures, bool]:
    """What is foretold, and whether there is nothing to train."""
    words = ["-m", "recsys_lightning", "estimate", "--json", f"--seconds={seconds}", "--config", str(file)]
    out, _ = run(words)
    found: dict[str, Any] = json.loads(out)
    times = found["total"] if found["times"] is None else found["times"]["epoch"]
    return Figures(found["peak"], times["cpu"], times["wall"]), found["times"] is None


def measured(file: Path, closed_form: bool) -> Figures:
    """What it really takes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [__file__, "--run", "test" if closed_form else "fit", "--to", folder, str(file)]
        out, memory = run(words)
    cpu, wall = json.loads(out.strip().splitlines()[-1])
    return Figures(memory, cpu, wall)


def run(words: list[str]) -> tuple[str, int]:
    """What a process says, and the most memory that it held."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(words)}: {err.read()}")
        return out.read(), usage.ru_maxrss * 1024


def really(verb: str, file: str, folder: str) -> None:
    """Train for two epochs or test, in this process, and print the seconds."""
    from lightning.pytorch import Callback, LightningModule, Trainer

    from recsys_lightning.cli.trainer import RecsysCLI, make_cli

    class Laps(Callback):
        """When the last epoch, or the test, began and ended."""

        def __init__(self) -> None:
            self.began = self.ended = (0.0, 0.0)

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.began = time.process_time(), time.perf_counter()

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.ended = time.process_time(), time.perf_counter()

        def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.began = time.process_time(), time.perf_counter()

        def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.ended = time.process_time(), time.perf_counter()

    laps = Laps()

    class Timed(RecsysCLI):
        """With laps."""

        def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
            return super()._instantiate_trainer(config, [*callbacks, laps])

    words = [verb, "--config", file, "--trainer.max_epochs=2", f"--trainer.default_root_dir={folder}", *QUIET]
    make_cli(words, run=True, kind=Timed)
    print(json.dumps([end - begin for begin, end in zip(laps.began, laps.ended, strict=True)]))


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", default=SHIPPED)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        really(options.run, options.experiments[0], options.to)
        return
    rows: list[list[object]] = []
    for name in options.experiments:
        file = ROOT / f"{name}.yaml"
        foretold, closed_form = estimated(file, options.seconds)
        found = measured(file, closed_form)
        ratios = [one / other for one, other in zip(foretold, found, strict=True)]
        print(f"{name}: {', '.join(f'{ratio:.2f}' for ratio in ratios)}", file=sys.stderr, flush=True)
        memory = [int(foretold.memory / MB), int(found.memory / MB), ratios[0]]
        rows.append([name, *memory, foretold.cpu, found.cpu, ratios[1], foretold.wall, found.wall, ratios[2]])
    header = ["experiment", "MB estimated", "measured", "ratio"]
    header += ["CPU s estimated", "measured", "ratio", "s estimated", "measured", "ratio"]
    print(text_table(header, rows))
    for what, place in (("memory", 3), ("CPU seconds", 6), ("seconds", 9)):
        inside = sum(GOAL[0] <= float(str(row[place])) <= GOAL[1] for row in rows)
        print(f"{what}: {inside} of {len(rows)} from {GOAL[0]} to {GOAL[1]}")


if __name__ == "__main__":
    main()
