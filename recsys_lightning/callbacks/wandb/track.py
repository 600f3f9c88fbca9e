"""Tells Weights & Biases what a run stands on, what it found, and what it leaves for others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.callbacks.wandb.artifacts import log_file, source_of, use
from recsys_lightning.callbacks.wandb.dashboards import STEP
from recsys_lightning.callbacks.wandb.facts import code_state, data_card, git_state
from recsys_lightning.callbacks.wandb.geometry import histograms, projection_table, vectors_of
from recsys_lightning.callbacks.wandb.logger import tolerated
from recsys_lightning.callbacks.wandb.tables import (
    Table,
    bucket_table,
    explanation_table,
    floor_table,
    sample_table,
    subjects,
)
from recsys_lightning.callbacks.watching import wandb_loggers
from recsys_lightning.data.filters import Step
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.metrics.domains import WORST
from recsys_lightning.metrics.evaluator import ACCURACY
from recsys_lightning.metrics.vectors import Spread
from recsys_lightning.models.modes import evaluating
from recsys_lightning.reports.floors import cached_floors
from recsys_lightning.tasks.evaluation import RankingTask

SWEEP = "WANDB_SWEEP_ID"
"""Set by the agent of a sweep."""


Doing = tuple[Any, RankingTask, InteractionsDataModule]


class TrackRun(Callback):
    """Logs to Weights & Biases, beside the figures that the logger gets anyway.

    At the start of every run: the data card, the commit of the working folder, and the files that it reads with the
    artifacts that these are; of a fit also which figures are best when largest, and which when smallest. At the end of
    a fit: the best checkpoint as an artifact. At the end of a test: tables of figures by group of users, of sample
    recommendations, of reasons and of floors; histograms of norms, cosines and gates; items on a plane. At the end of
    predict: exported vectors as an artifact.

    Nothing else needs any of it, so what goes wrong is a warning. One process does all of it.
    """

    def __init__(self) -> None:
        self._sources: dict[str, dict[str, Any]] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the run stands on, and which of its figures are best when largest or smallest."""
        self._begin(trainer, pl_module)
        for run, task, _ in _told(trainer, pl_module):
            with tolerated("which figures are best when largest"):
                define_metrics(run, task)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the run stands on, where it is a validation alone."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._begin(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the run stands on."""
        self._begin(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the run stands on."""
        self._begin(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the best checkpoint."""
        checkpoint = trainer.checkpoint_callback
        if not isinstance(checkpoint, ModelCheckpoint):
            return
        score = checkpoint.best_model_score
        found = {"monitor": checkpoint.monitor, "score": None if score is None else float(score)}
        file = Path(checkpoint.best_model_path or checkpoint.last_model_path)
        self._leave(trainer, pl_module, file, "model", found)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what lies behind the figures."""
        folder = run_folder(trainer)
        for told in _told(trainer, pl_module):
            with torch.no_grad(), evaluating(told[1].recommender):
                _log_test(trainer, folder, *told)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the vectors, where they were written."""
        self._leave(trainer, pl_module, run_folder(trainer) / WriteVectors.FILE, "vectors", {})

    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        """What the run stands on, as configuration."""
        for run, _, data in _told(trainer, module):
            files = {"checkpoint": trainer.ckpt_path, "vectors": getattr(data, "file", None)}
            with tolerated("what the run reads"):
                self._sources = {name: source_of(Path(file)) for name, file in files.items() if file}
                run.config.update({"sources": self._sources}, allow_val_change=True)
            for name, source in self._sources.items():
                with tolerated(f"which artifact the {name} is"):
                    use(run, source)
            with tolerated("the data card"):
                facts = {"card": data_card(data), "code": code_state(), "git": git_state(Path.cwd())}
                run.config.update(facts, allow_val_change=True)
                steps = [list(asdict(step).values()) for step in data.prepared.steps]
                _log(trainer, run, {"data/steps": Table([field.name for field in fields(Step)], steps)})

    def _leave(
        self, trainer: Trainer, module: LightningModule, file: Path, kind: str, found: Mapping[str, Any]
    ) -> None:
        """A file of the run as an artifact, with what was found."""
        folder = run_folder(trainer)
        for run, task, data in _told(trainer, module):
            schema = data.schema
            about = {"recommender": type(task.recommender).__name__, "data": schema.name, "split": schema.split}
            metadata = {**about, "fingerprint": schema.fingerprint, **found, "sources": self._sources}
            with tolerated(f"the {kind}"):
                if file.is_file():
                    run.summary.update({f"best/{name}": value for name, value in found.items()})
                    log_file(run, folder, file, kind, metadata)


def define_metrics(run: Any, task: RankingTask) -> None:
    """Say which figures are best when largest, and which when smallest: the summary holds that, and the last value.

    Not in a W&B sweep, which must find one number under the name of the figure that it optimises.
    """
    if SWEEP in os.environ:
        return
    domains = ["", *(f"_{domain}" for domain in (*task.domains, WORST) if task.domains)]
    largest = [f"val/{name}_{k}{domain}" for name in ACCURACY for k in task.k for domain in domains]
    for best, names in (("max", largest), ("min", ["train/loss_epoch", *task.other_figures])):
        for name in names:
            run.define_metric(name, step_metric=STEP, step_sync=True, summary=f"{best},last")


def _told(trainer: Trainer, module: LightningModule) -> list[Doing]:
    """Runs of W&B with what there is to tell; none on all processes but the first."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(module, RankingTask) or not isinstance(data, InteractionsDataModule):
        return []
    return [(logger.experiment, module, data) for logger in wandb_loggers(trainer)]


def _log_test(trainer: Trainer, folder: Path, run: Any, task: RankingTask, data: InteractionsDataModule) -> None:
    """Each part by itself: one that fails must not cost the others."""
    with tolerated("figures by group of users"):
        _log(trainer, run, {"test/buckets": bucket_table(folder / "facts.json")})
    with tolerated("the floors"):
        floors = cached_floors(data, task.k)
        run.summary.update({f"floors/{floor.name}/{name}": one for floor in floors for name, one in floor.test.items()})
        _log(trainer, run, {"test/floors": floor_table(floors)})
    with tolerated("sample recommendations"):
        chosen = subjects(task, data)
        _log(trainer, run, {"test/samples": sample_table(chosen)})
        with tolerated("why items are recommended"):
            _log(trainer, run, {"test/explanations": explanation_table(chosen)})
    with tolerated("what vectors are like"):
        vectors = vectors_of(task)
        spreads = histograms(task, vectors)
        _log(trainer, run, {f"test/{name}": one for name, one in spreads.items()})
        if vectors is not None:
            popularity = task.fitting_views.popularity.cpu().numpy()
            _log(trainer, run, {"test/projection": projection_table(vectors, data.prepared, popularity)})


def _log(trainer: Trainer, run: Any, values: Mapping[str, Table | Spread | None]) -> None:
    """Tables and histograms, as far as there are any, at the step of training."""
    import wandb

    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Table):
            made[name] = wandb.Table(columns=value.columns, data=value.rows, allow_mixed_types=True)
        elif value is not None:
            made[name] = wandb.Histogram(np_histogram=(np.array(value.counts), np.array(value.edges)))
    if made:
        run.log({**made, STEP: trainer.global_step})
