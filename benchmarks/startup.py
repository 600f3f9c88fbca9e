"""How long one waits for the command line, and for the first step of a training.

    python benchmarks/startup.py [--config experiments/movietweetings/lightgcn.yaml] [--repeats 3]

Each in a process of its own, from its start to its end, on one thread: CPU seconds and seconds on the clock, the least
of all repeats. The training is one step, a batch of its validation and the report (`--trainer.fast_dev_run true`): an
upper limit of the time to the first step. With an empty cache it also reads and prepares the data.

Goals: 2 CPU seconds for the help, 1 s for the import, 10 s for the first step.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

RECSYS = ("-m", "recsys_lightning")


class Wait(NamedTuple):
    """What is waited for."""

    name: str
    words: tuple[str, ...]
    goal: float
    keeps_cache: bool = True


def waits(config: Path) -> list[Wait]:
    """All that is measured."""
    fit = (*RECSYS, "fit", f"--config={config}", "--trainer.fast_dev_run=true")
    return [
        Wait("recsys --help", (*RECSYS, "--help"), 2),
        Wait("import recsys_lightning", ("-c", "import recsys_lightning"), 1),
        Wait("first step, empty cache", fit, 10, keeps_cache=False),
        Wait("first step", fit, 10),
    ]


def measured(words: Sequence[str], cache: Path) -> tuple[float, float]:
    """CPU seconds and seconds on the clock of a Python process."""
    before, begin = _children(), time.perf_counter()
    environment = {**os.environ, "RECSYS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return _children() - before, time.perf_counter() - begin


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("experiments/movietweetings/lightgcn.yaml"))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':26}{'CPU s':>8}{'clock s':>9}{'goal s':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for wait in waits(given.config):
            caches = [Path(folder, "kept" if wait.keeps_cache else f"empty-{turn}") for turn in range(given.repeats)]
            found = [measured(wait.words, cache) for cache in caches]
            cpu, clock = (min(values) for values in zip(*found, strict=True))
            print(f"{wait.name:26}{cpu:8.2f}{clock:9.2f}{wait.goal:8.0f}", flush=True)


if __name__ == "__main__":
    main()
