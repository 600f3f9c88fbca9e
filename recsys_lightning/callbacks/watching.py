"""What all callbacks share that watch a training: who is looked at, where figures go, what is said and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.diagnostics import plain
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.vectors import Spread, spread
from recsys_lightning.reports.run.picture import picture
from recsys_lightning.reports.run.values import read_json
from recsys_lightning.reports.run.watched import SECTIONS
from recsys_lightning.tasks.evaluation import RankingTask


@runtime_checkable
class Conditional(Protocol):
    """A model whose user vector is made of one condition for each domain, one after the other."""

    def conditions(self, views: Views) -> Tensor:
        """(U, M, D) of every user in every domain."""


class Recorder(Callback):
    """Keeps what is measured after each validation, says each thing once, and writes both at the end of a fit.

    Figures go to every logger, and can be monitored: they are equal on all processes. Histograms go to Weights & Biases
    when they are made, and the table of all figures at the end of the fit. `<name>.json` holds all of it for the
    report, `<name>.svg` is its picture. A run that is resumed goes on where it was.
    """

    name: ClassVar[str]
    """Of the files."""

    group: ClassVar[str]
    """What the names of logged figures begin with."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.said: dict[str, str] = {}
        self.spreads: dict[str, Spread] = {}

    def state_dict(self) -> dict[str, Any]:
        """What was measured and said so far."""
        return {"rows": self.rows, "said": self.said}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.rows, self.said = [dict(row) for row in state_dict["rows"]], dict(state_dict["said"])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured, and draw it; one process does."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or not self.rows:
            return
        found = {"figures": self.rows, "said": list(self.said.values()), "histograms": self.spreads, **self.about()}
        folder.mkdir(parents=True, exist_ok=True)
        section = SECTIONS[self.name](read_json(write_json(folder / f"{self.name}.json", plain(found))))
        if section is not None:
            (folder / f"{self.name}.svg").write_text(picture(section), encoding="utf-8")
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        for logger in wandb_loggers(trainer):
            logger.log_table(
                f"{self.group}/{self.name}", columns, [[row.get(name) for name in columns] for row in self.rows]
            )

    def about(self) -> dict[str, Any]:
        """What the file holds besides figures."""
        return {}

    def record(
        self,
        trainer: Trainer,
        module: LightningModule,
        figures: Mapping[str, float],
        kept: Mapping[str, float] | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Log figures, and keep them.

        Args:
            trainer: of the fit.
            module: that is trained.
            figures: by name, without the group.
            kept: others, which are logged elsewhere.
            values: of single users, by name without the group, whose histograms are of interest.
        """
        logged = {f"{self.group}/{name}": value for name, value in figures.items()}
        module.log_dict(logged, rank_zero_only=False, sync_dist=False)
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **figures, **(kept or {})})
        self.spreads = {name: spread(of_users.flatten()) for name, of_users in (values or {}).items()}
        for logger in wandb_loggers(trainer) if self.spreads else ():
            import wandb

            shown = {
                f"{self.group}/{name}_users": wandb.Histogram(np_histogram=(np.array(one.counts), np.array(one.edges)))
                for name, one in self.spreads.items()
            }
            logger.log_metrics(shown, trainer.global_step)

    def warn_once(self, kind: str, sentence: str) -> None:
        """Say what is wrong, if nothing of this kind was said before."""
        if kind not in self.said:
            self.said[kind] = sentence
            rank_zero_warn(sentence)

    def lasts(self, figure: str, number: int, above: float = -np.inf, below: float = np.inf) -> bool:
        """Whether a figure lay between two bounds at each of the latest validations, so many of them."""
        latest = [row[figure] for row in self.rows[-number:] if figure in row]
        return len(latest) == number and all(above <= value < below for value in latest)


class Looked(NamedTuple):
    """What is looked at after a validation."""

    domains: tuple[str, ...]
    user: Tensor  # (B,) who is looked at
    vector: Tensor  # (B, D) what the conditions are made of
    condition: Tensor  # (B, M, D)


class Watch(Recorder):
    """Looks at the conditions of a sample of users after each validation; the same users all along.

    The conditions are those that the validation has ranked by: they are not made again.

    Args:
        users: who are looked at, at most; more are sampled.
        patience: validations in a row that must look bad before it is said.
        seed: of the sample.

    Raises:
        InputError: a number is too small.
    """

    least_domains: ClassVar[int] = 1
    """Fewer tell it nothing."""

    def __init__(self, users: int = 2048, patience: int = 3, seed: int = 0) -> None:
        super().__init__()
        for option, value, least in (("users", users, 2), ("patience", patience, 1), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"{type(self).__name__} was given {option} {value}; it must be at least {least}.")
        self.users, self.patience, self.seed = users, patience, seed
        self._sample: Tensor | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where there is nothing to look at."""
        self._sample = None
        if reason := self.nothing(pl_module):
            rank_zero_warn(f"{type(self).__name__} looks at nothing: {reason}.")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, before the task forgets what it has ranked by."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or self.nothing(pl_module):
            return
        assert isinstance(pl_module, RankingTask)
        with torch.no_grad():
            self.look(trainer, pl_module, self._looked(pl_module))

    def nothing(self, module: LightningModule) -> str:
        """Why there is nothing to look at; empty where there is."""
        reason = without_conditions(module)
        if not reason and isinstance(module, RankingTask) and max(1, len(module.domains)) < self.least_domains:
            return "the data have one domain"
        return reason

    def look(self, trainer: Trainer, task: RankingTask, looked: Looked) -> None:
        """Measure, record, and warn."""
        raise NotImplementedError

    def sample(self, task: RankingTask) -> Tensor:
        """(B,) users who are looked at: of those with train rows, as vectors of others are hardly trained."""
        if self._sample is None:
            known = task.fitting_views.train.degree.nonzero()[:, 0].cpu()
            self._sample = torch.from_numpy(drawn(known.numpy(), self.users, self.seed)).to(task.device)
        return self._sample

    def _looked(self, task: RankingTask) -> Looked:
        user = self.sample(task)
        names = task.domains or ("all",)
        condition = task.recommender.users(task._state, user).view(len(user), len(names), -1)
        return Looked(names, user, task.views.vectors.user[user].float(), condition.float())


def without_conditions(module: LightningModule) -> str:
    """Why a task has no conditions of users to look at; empty where it has."""
    if not isinstance(module, RankingTask):
        return f"{type(module).__name__} ranks nothing"
    if not isinstance(module.recommender, Conditional):
        return f"{type(module.recommender).__name__} makes no conditions of users"
    return ""


def wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    """Those of this process; none but the first process has any."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)] if trainer.is_global_zero else []


def drawn(values: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """So many of the values, or all, in their order."""
    if len(values) <= number:
        return values
    return np.sort(np.random.default_rng([seed, 0]).choice(values, number, replace=False))
