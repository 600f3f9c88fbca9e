"""A search for options: its study, and its trials one after another."""

from __future__ import annotations

import math
import time
from argparse import ArgumentError
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from lightning.pytorch import Callback, Trainer
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.callbacks.trial import ReportTrial
from recsys_lightning.cli.options import sentence
from recsys_lightning.cli.run_folders import claim, discard
from recsys_lightning.cli.sweep import Sweep
from recsys_lightning.cli.trainer import RecsysCLI, make_cli
from recsys_lightning.cli.trials import FILE, line, outcome, outcomes, write_csv
from recsys_lightning.errors import InputError, NonFiniteError, linked

DATABASES = (".db", ".sqlite", ".sqlite3")
"""Ends of file names that make a storage SQLite."""


class TrialCLI(RecsysCLI):
    """A run that reports to a search, and leaves it to the search to say what came out."""

    def __init__(self, *args: Any, reporter: ReportTrial, **kwargs: Any) -> None:
        self.reporter = reporter
        super().__init__(*args, **kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        return super()._instantiate_trainer(config, [*callbacks, self.reporter])

    def after_fit(self) -> None:
        """Nothing: the search says it."""

    after_validate = after_fit


@dataclass
class Search:
    """A search that goes on or begins.

    Attributes:
        sweep: what is searched.
        options: of the command line, but for those of the sweep.
        verb: that a trial carries out.
        seed: of the search.
        study: its trials.
        folder: where its runs lie.
    """

    sweep: Sweep
    options: list[str]
    verb: str
    seed: int
    study: optuna.Study
    folder: Path

    def go_on(self, trials: int, timeout: float | None) -> bool:
        """Carry out what is left of so many trials; False where it was interrupted."""
        try:
            return self._go_on(trials, timeout)
        except KeyboardInterrupt:  # between two trials
            return False

    def _go_on(self, trials: int, timeout: float | None) -> bool:
        start, grid = time.monotonic(), self.sweep.grid if self.sweep.method == "grid" else None
        most = trials if grid is None else min(trials, len(grid))
        while (done := self._done()) < most and (timeout is None or time.monotonic() - start < timeout):
            self.study.sampler = self.sweep.sampler(self.seed, done)
            if grid is not None and not self.study.get_trials(states=(TrialState.WAITING,)):
                self.study.enqueue_trial(grid[done])
            trial = self.study.ask(self.sweep.space)
            ended = self._carry_out(trial)
            write_csv(self.folder / FILE, outcomes(self.study, self.sweep.maximize), self.sweep.metric)
            if not ended:
                return False
            print(line(outcome(self.study.get_trials(deepcopy=False)[trial.number]), self.sweep.metric), flush=True)
        return True

    def _done(self) -> int:
        return sum(outcome(trial).state != "stopped" for trial in self.study.get_trials(deepcopy=False))

    def _carry_out(self, trial: optuna.Trial) -> bool:
        """One trial, noted in the study; False where it was interrupted."""
        start = time.perf_counter()
        reporter = ReportTrial(self.sweep.metric, self.sweep.maximize, partial(_poor, trial))
        RecsysCLI.claimed = None
        state = TrialState.FAIL
        try:
            cli = self._run([*self.options, *self.sweep.options(trial.params)], reporter)
            trial.set_user_attr("run", str(run_folder(cli.trainer)))
            if reporter.best is None:
                raise InputError("No epoch was validated, so there is nothing to select by: raise trainer.max_epochs.")
            if math.isnan(reporter.best):
                raise InputError(f"{self.sweep.metric} has no value on these data. Select by another metric.")
            state = TrialState.PRUNED if reporter.stopped else TrialState.COMPLETE
        except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
            discard(RecsysCLI.claimed)
            self.study.tell(trial, state=state)
            return False
        except Exception as error:
            discard(RecsysCLI.claimed)
            trial.set_user_attr("reason", _reason(error, self.verb))
            if RecsysCLI.claimed is not None and RecsysCLI.claimed.is_dir():
                trial.set_user_attr("run", str(RecsysCLI.claimed))
        trial.set_user_attr("seconds", round(time.perf_counter() - start, 3))
        trial.set_user_attr("epochs", reporter.epochs)
        if state != TrialState.FAIL:
            trial.set_user_attr("value", reporter.best)
        self.study.tell(trial, reporter.best if state == TrialState.COMPLETE else None, state)
        return True

    def _run(self, options: list[str], reporter: ReportTrial) -> RecsysCLI:
        goal = "max" if self.sweep.maximize else "min"
        selection = [
            *(f"--checkpoint.monitor={self.sweep.metric}", f"--checkpoint.mode={goal}"),
            *(f"--early_stopping.monitor={self.sweep.metric}", f"--early_stopping.mode={goal}"),
            f"--trainer.default_root_dir={self.folder}",
        ]
        quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
        return make_cli([self.verb, *quiet, *options, *selection], run=True, kind=TrialCLI, reporter=reporter)


def open_study(sweep: Sweep, path: Path | None, facts: dict[str, object]) -> optuna.Study:
    """The study, from its file where it has one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: Any = None
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = path.suffix in DATABASES
            storage = f"sqlite:///{path}" if database else JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(
            storage=storage,
            study_name="recsys",  # hyperband deals brackets out by name and number
            direction="maximize" if sweep.maximize else "minimize",
            pruner=sweep.pruner(),
            load_if_exists=True,
        )
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"--storage {path} holds no search, or cannot be read: {reason}. Name another.") from error
    for name, value in facts.items():
        before = study.user_attrs.get(name)
        if before not in (None, value):
            raise InputError(f"The search in {path} has another {name}: give that of the search, or another --storage.")
        study.set_user_attr(name, value)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # of a search that was killed
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def folder_of(study: optuna.Study, root: Path, name: str) -> Path:
    """Where the runs of a search lie: where they lay, or a new folder."""
    if (before := study.user_attrs.get("folder")) and Path(before).is_dir():
        return Path(before)
    folder = claim(root, f"tune-{name}-")
    study.set_user_attr("folder", str(folder))
    return folder


def ours(error: BaseException) -> BaseException | None:
    """The error of ours that another was raised from, or itself."""
    return next((link for link in linked(error) if isinstance(link, InputError | NonFiniteError)), None)


def _reason(error: Exception, verb: str) -> str:
    """Why a trial failed; what is nobody's wrong option goes on as an error."""
    if (own := ours(error)) is not None:
        return str(own)
    if isinstance(error, ArgumentError):
        return sentence(str(error), verb)
    if type(error).__name__ in ("OutOfMemoryError", "MisconfigurationException"):
        return str(error).splitlines()[0]
    raise error


def _poor(trial: optuna.Trial, epoch: int, value: float) -> bool:
    trial.report(value, epoch)
    return trial.should_prune()
