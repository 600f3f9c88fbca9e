"""Run experiments from end to end and print the table of their results: `python experiments/table.py [DATA ...]`.

Every YAML of the named folders (all without) is fitted where there is something to fit, and tested; each command is
a process of its own. Runs lie in `runs/table/`, and what was said in its `commands.txt`. What fails is shown in its
row.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

from trying import HERE, Recsys, judge

from recsys_lightning.cli.experiment import closed_form, read_config, recommender_of
from recsys_lightning.reports.tables import markdown_table, number

RUNS = HERE.parent / "runs" / "table"
QUIET = ("--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={RUNS}")
FIGURES = ("recall", "ndcg", "mrr", "hit_rate", "coverage")


def row(do: Recsys, config: Path) -> list[object]:
    """Data, model, figures and minutes of one experiment, or why it has none."""
    name: str | None = None
    found: list[object] = []
    start = time.perf_counter()

    def measure() -> None:
        nonlocal name
        name = recommender_of(read_config(config))
        options: list[object] = ["--config", config]
        if not closed_form(name):
            (hint,) = [line for line in do("fit", *options, *QUIET) if line.startswith("test it: ")]
            options = list(shlex.split(hint.removeprefix("test it: "))[2:])
        metrics = json.loads(Path(do("test", *options, *QUIET)[-1]).read_text(encoding="utf-8"))
        k = min(int(key.rsplit("_", 1)[1]) for key in metrics if key.startswith("test/ndcg_"))
        values = [metrics[f"test/{figure}_{k}"] for figure in FIGURES]
        found.extend([k, *values, f"{(time.perf_counter() - start) / 60:.1f}"])

    why = judge(measure).why
    return [f"{config.parent.name}/{config.name}", name, *(found or [None] * (len(FIGURES) + 2)), why]


def main() -> None:
    """Print a line as each experiment ends, then the whole table."""
    folders = sys.argv[1:] or sorted(path.name for path in HERE.iterdir() if (path / "data.yaml").is_file())
    RUNS.mkdir(parents=True, exist_ok=True)
    do = Recsys(RUNS, RUNS / "commands.txt", limit=None)
    rows = []
    for folder in folders:
        for config in sorted((HERE / folder).glob("*.yaml")):
            if config.name != "data.yaml":
                rows.append(row(do, config))
                print(" ".join(map(number, rows[-1])), file=sys.stderr, flush=True)
    print(markdown_table(("experiment", "model", "k", *FIGURES, "minutes", ""), rows))


if __name__ == "__main__":
    main()
