"""What is claimed of every shipped experiment, each claim tried through the command line as a user types it.

`shipped.py` makes a table of it. Runs are short: two epochs of two batches, then the whole test.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trying import HERE, Cell, Recsys, Refused, Wrong, apart, difference, judge, logged

from recsys_lightning import cli
from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.cli.experiment import closed_form, read_yaml, recommender_of
from recsys_lightning.cli.stages import read_chain
from recsys_lightning.metrics.evaluator import ACCURACY

SWEEPS, CHAINS = "sweeps", "cross_domain"
"""Folders of what is no experiment by itself."""
SHORT = tuple(
    f"--trainer.{option}"
    for option in (
        *("accelerator=cpu", "limit_train_batches=2", "check_val_every_n_epoch=1", "num_sanity_val_steps=0"),
        *("enable_progress_bar=false", "enable_model_summary=false"),
    )
)
COLUMNS = {
    "runs": "runs",
    "resumes": "resumes",
    "processes": "1 = 2 processes",
    "logs": "logs offline",
    "exports": "exports",
    "reports": "reports",
}
"""What is asked of each, and how the table calls it."""


class Row:
    """What is asked of an experiment; each method is a column, and raises where it does not hold.

    Args:
        do: runs commands.
        config: the YAML.
        options: of every run, which are of the trainer, the data or the model.
        place: where chains lie, which experiments take vectors from.
    """

    def __init__(self, do: Recsys, config: Path, options: Sequence[str], place: Path) -> None:
        self.do, self.config, self.place = do, config, place
        self.options = [*SHORT, *options]
        self.root = f"--trainer.default_root_dir={do.folder}"

    def cells(self) -> dict[str, Cell]:
        """All columns. What does not run is red in all of them, what lacks its data in none."""
        first = judge(self.runs)
        if first.holds is None:
            return dict.fromkeys(COLUMNS, first)
        others = list(COLUMNS)[1:]
        if not first.holds:
            return {"runs": first, **dict.fromkeys(others, Cell(False, "it does not run"))}
        return {"runs": first, **{name: judge(getattr(self, name)) for name in others}}

    def runs(self) -> None:
        """Carry it out; the other columns look at what that leaves."""
        raise NotImplementedError

    def report(self, run: Path, names: Iterable[str]) -> None:
        """Make the pages of a run; in this process, as starting one takes longer."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = cli.main(["report", str(run)])
        if status:
            raise Wrong(f"`recsys report` ended with status {status}: {said.getvalue().strip()}")
        _named(run, names)


class Single(Row):
    """An experiment of its own."""

    def __init__(self, do: Recsys, config: Path, options: Sequence[str], place: Path) -> None:
        super().__init__(do, config, options, place)
        content = read_yaml(config, "The experiment")
        self.name = str(recommender_of(content))
        self.trained = not closed_form(self.name)
        self.on_vectors = not isinstance(content["data"], str)

    def runs(self) -> None:
        """Train and test."""
        words = [f"--config={self.config}", *self.options, self.root]
        if self.on_vectors:
            of_data = [word.replace("--data.", "--data.interactions.", 1) for word in self.options]
            words = [words[0], *of_data, self.root, f"--data.vectors={self._vectors()}"]
        self.words, self.asked = words, list[object](words)
        if self.trained:
            self.run = _run_of(self.do("fit", *words, "--trainer.max_epochs=2"))
            self.asked = ["--config", self.run / "config.yaml", "--ckpt_path", self.run / "checkpoints" / "best.ckpt"]
        self.tested, self.figures = self._test("--trainer.logger=WandbLogger")
        for name, value in self.figures.items():
            accuracy = name.startswith(tuple(f"test/{figure}_" for figure in ACCURACY))
            if (value is None and accuracy) or (value is not None and not math.isfinite(value)):
                raise Wrong(f"{name} is {value}.")

    def resumes(self) -> None:
        """Stop after an epoch, go on, and compare with the run that was not stopped."""
        if not self.trained:
            raise Refused("a closed form has nothing to resume")
        run = _run_of(self.do("fit", *self.words, "--trainer.max_epochs=1"))
        last, goal = (folder / "checkpoints" / "last.ckpt" for folder in (run, self.run))
        stopped, whole = read_checkpoint(last), read_checkpoint(goal)
        if not 0 < stopped["global_step"] < whole["global_step"]:
            raise Wrong(f"It was stopped after {stopped['global_step']} of {whole['global_step']} steps.")
        again = self.do("fit", "--config", run / "config.yaml", "--ckpt_path", last, "--trainer.max_epochs=2")
        if _run_of(again) != run:
            raise Wrong("It went on in another folder.")
        resumed = read_checkpoint(last)
        for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            if place := difference(resumed[part], whole[part], part):
                raise Wrong(f"{place} of the resumed run differs.")

    def processes(self) -> None:
        """Train on two processes, test the same weights on one and on two."""
        two = "--trainer.devices=2"
        if self.trained:
            self.do("fit", *self.words, "--trainer.max_epochs=1", two)
        _, figures = self._test(two)
        apart(self.figures, figures, "on two processes")

    def logs(self) -> None:
        """Read back what the test told W&B."""
        history: dict[str, Any] = {}
        for row in logged(self.do.folder, self.tested.name).history:
            history |= row
        apart({name: value for name, value in self.figures.items() if value is not None}, history, "in the log")

    def exports(self) -> None:
        """Export what was trained."""
        export(self.do, [self.run] if self.trained else self.words)

    def reports(self) -> None:
        """Make the pages of the test."""
        self.report(self.tested, [self.name])

    def _test(self, *words: object) -> tuple[Path, dict[str, float | None]]:
        """Folder of a test, and its figures."""
        lines = self.do("test", *self.asked, *words)
        file = Path(next(line for line in reversed(lines) if line.endswith("metrics.json")))
        found = json.loads(file.read_text(encoding="utf-8"))
        return file.parent, {name: value for name, value in found.items() if name.startswith("test/")}

    def _vectors(self) -> Path:
        """Those of the stage before, in the chain of the same data."""
        for file in sorted((HERE / CHAINS).glob("*.yaml")):
            chain = read_chain(file)
            if chain.stages[chain.base].config.resolve().parent == self.config.parent:
                stages = [stage for stage in chain.stages.values() if stage.config.resolve() == self.config]
                before = next((stage.vectors for stage in stages if stage.vectors), chain.base)
                folder = self.place / file.stem
                chained(self.do, file, folder, self.options, "--only", before)
                found = folder.glob(f"{before}-*/**/vectors.safetensors")
                return max(found, key=lambda path: path.stat().st_mtime_ns)
        raise Wrong(f"No chain of {CHAINS} makes the vectors that it stands on.")


class Chained(Row):
    """Experiments that feed one another."""

    def runs(self) -> None:
        """Begin with the stage that others stand on; then do all."""
        self.chain, self.folder = read_chain(self.config), self.place / self.config.stem
        chained(self.do, self.config, self.folder, self.options, "--only", self.chain.base)
        self.lines = chained(self.do, self.config, self.folder, self.options)

    def resumes(self) -> None:
        """Nothing is done twice."""
        if any(line.startswith(f"== {self.chain.base}: ") for line in self.lines):
            raise Wrong(f"It did {self.chain.base} again, which was finished.")
        again = chained(self.do, self.config, self.folder, self.options)
        if done := [line for line in again if line.startswith("== ")]:
            raise Wrong(f"It was finished, and did this again: {done[0]}.")

    def processes(self) -> None:
        """Left to the stages."""
        raise Refused("stages of a chain have rows of their own")

    logs = exports = processes

    def reports(self) -> None:
        """Its pages stand beside the stages."""
        _named(self.folder, [stage.name for stage in self.chain.stages.values() if "test" in stage.run])


class Swept(Row):
    """A search for options."""

    def runs(self) -> None:
        """Two trials in one go."""
        self.sweep = read_yaml(self.config, "The sweep")
        self.command = self.sweep["command"]
        self.trials = self._search("whole", 2)
        for trial in self.trials:
            if trial["state"] not in ("complete", "pruned") or not math.isfinite(float(trial["value"])):
                raise Wrong(f"Trial {trial['trial']} is {trial['state']}: {trial['reason']}")

    def resumes(self) -> None:
        """One trial, and later the other."""
        self._search("stopped", 1)
        timed = ("run", "seconds")
        ours, theirs = (
            [{name: value for name, value in trial.items() if name not in timed} for trial in trials]
            for trials in (self._search("stopped", 2), self.trials)
        )
        if ours != theirs:
            raise Wrong("The search that was stopped found other trials.")

    def processes(self) -> None:
        """Trials are one process."""
        self._search("processes", 1, "--trainer.devices=2")

    def logs(self) -> None:
        """What W&B's agent would run, with the options of the best trial."""
        known = {"trial", "state", "value", "epochs", "seconds", "run", "reason"}
        chosen = [f"--{name}={value}" for name, value in self.trials[0].items() if name not in known]
        words = [word for word in self.command[self.command.index("fit") + 1 :] if not word.startswith("${")]
        run = _run_of(self.do("fit", *words, *chosen, *self.options, self.root, "--trainer.max_epochs=1"))
        metric, told = self.sweep["metric"]["name"], logged(self.do.folder, run.name)
        if not any(metric in row for row in told.history):
            raise Wrong(f"The log holds no {metric}.")

    def exports(self) -> None:
        """The best trial."""
        export(self.do, [self.trials[0]["run"]])

    def reports(self) -> None:
        """Of the best trial."""
        run = Path(self.trials[0]["run"])
        self.report(run, [str(recommender_of(read_yaml(run / "config.yaml", "The configuration")))])

    def _search(self, name: str, trials: int, *words: str) -> list[dict[str, str]]:
        """Trials of a search, the best first."""
        config = self.command[self.command.index("--config") + 1]
        root = self.do.folder / name
        own = [f"--config={config}", "--sweep", self.config, "--trials", trials, "--storage", root / "search.log"]
        short = [*self.options, "--trainer.max_epochs=1", f"--trainer.default_root_dir={root}"]
        self.do("tune", *own, *short, *words)
        [file] = root.rglob("trials.csv")
        with file.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text))
        metric = self.sweep["metric"]["name"]
        return [{"value" if name == metric else name: value for name, value in row.items()} for row in rows]


def _run_of(lines: Sequence[str]) -> Path:
    """The folder that `recsys fit` names."""
    return Path(next(line for line in lines if line.startswith("run: ")).removeprefix("run: "))


def _named(folder: Path, names: Iterable[str]) -> None:
    for file in ("report.md", "report.html"):
        text = (folder / file).read_text(encoding="utf-8")
        if missing := [name for name in names if name not in text]:
            raise Wrong(f"{file} does not name {', '.join(missing)}.")


def chained(do: Recsys, file: Path, folder: Path, options: Sequence[str], *words: object) -> list[str]:
    """Run a chain by those options that it takes."""
    own = [word for word in options if word.startswith(("--trainer.", "--data."))]
    return do("chain", file, "--to", folder, *words, *own, "--trainer.max_epochs=1")


def export(do: Recsys, words: Sequence[object]) -> None:
    """Export a model."""
    do("export", *words, "--to", do.folder / "export")
    json.loads((do.folder / "export" / "manifest.json").read_text(encoding="utf-8"))
