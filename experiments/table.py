"""Run experiments from end to end and print the table of their results: `python experiments/table.py [DATA ...]`.

Every YAML of the named folders (all without) is fitted where there is something to fit, and tested; each command is
a process of its own. Runs lie in `runs/table/`. What fails is shown in its row.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from recsys_lightning.cli.experiment import closed_form, read_yaml, recommender_of
from recsys_lightning.reports.tables import markdown_table, number

HERE = Path(__file__).parent
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", "runs/table"]
FIGURES = ("recall", "ndcg", "mrr", "hit_rate", "coverage")


def recsys(verb: str, *options: object) -> list[str]:
    """The lines that a command prints.

    Raises:
        RuntimeError: the command failed; holds the last thing that it said.
    """
    command = [sys.executable, "-m", "recsys_lightning", verb, *map(str, options), *QUIET]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip().splitlines()


def row(config: Path) -> list[object]:
    """Data, model, figures and minutes of one experiment."""
    name = recommender_of(read_yaml(config, "The experiment"))
    file = f"{config.parent.name}/{config.name}"
    start = time.perf_counter()
    try:
        options: list[object] = ["--config", config]
        if not closed_form(name):
            (hint,) = [line for line in recsys("fit", *options) if line.startswith("test it: ")]
            options = list(shlex.split(hint)[4:])
        metrics = json.loads(Path(recsys("test", *options)[-1]).read_text())
    except RuntimeError as error:
        return [file, name, *[None] * (len(FIGURES) + 2), str(error)]
    k = min(int(key.rsplit("_", 1)[1]) for key in metrics if key.startswith("test/ndcg_"))
    values = [metrics[f"test/{figure}_{k}"] for figure in FIGURES]
    return [file, name, k, *values, f"{(time.perf_counter() - start) / 60:.1f}", ""]


def main() -> None:
    """Print a line as each experiment ends, then the whole table."""
    folders = sys.argv[1:] or sorted(path.name for path in HERE.iterdir() if (path / "data.yaml").is_file())
    rows = []
    for folder in folders:
        for config in sorted((HERE / folder).glob("*.yaml")):
            if config.name != "data.yaml":
                rows.append(row(config))
                print(" ".join(map(number, rows[-1])), file=sys.stderr, flush=True)
    print(markdown_table(("experiment", "model", "k", *FIGURES, "minutes", ""), rows))


if __name__ == "__main__":
    main()
