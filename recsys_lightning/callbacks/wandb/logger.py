"""A W&B logger whose failures cost the log, and never the run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn


@contextmanager
def tolerated(what: str) -> Iterator[None]:
    """Turn what goes wrong into a warning: whatever is told W&B has been computed, and lies in the run's folder.

    Args:
        what: W&B was to be told.
    """
    try:
        yield
    except Exception as error:
        _warn(what, error)


class TolerantWandbLogger(WandbLogger):
    """A `WandbLogger` that stops no run: what W&B refuses is said in a warning, and the run goes on.

    A run that cannot be started, as W&B cannot be reached or its folder cannot be written to, goes on without W&B.
    When the trainer has ended, so has the W&B run: the next trainer in the same process has another one.
    """

    @classmethod
    def of(cls, logger: WandbLogger, job: str) -> TolerantWandbLogger:
        """The same logger, tolerant, with the id of its run: processes that are forked could not tell it each other.

        Args:
            logger: that has not started its run yet.
            job: type of the run, as W&B groups runs by.
        """
        made = cls.__new__(cls)
        made.__dict__.update(logger.__dict__)
        chosen = made._id or os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]  # the agent of a sweep sets it
        made._id = made._wandb_init["id"] = chosen
        made._wandb_init["job_type"] = made._wandb_init.get("job_type") or job
        return made

    @property
    def experiment(self) -> Any:
        """The W&B run; one that does nothing where none could be started."""
        if self._experiment is not None or getattr(rank_zero_only, "rank", 0) != 0:
            return super().experiment
        import wandb

        try:
            return super().experiment
        except Exception as error:
            _warn("of this run, which goes on without it", error)
            self._experiment = wandb.init(mode="disabled", id=self._id, project=self._project)
            return self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log what there is at a step."""
        with tolerated("figures"):
            super().log_metrics(metrics, step)

    def log_hyperparams(self, params: Any) -> None:
        """Keep options."""
        with tolerated("the configuration"):
            super().log_hyperparams(params)

    def log_table(self, key: str, *args: Any, **kwargs: Any) -> None:
        """Log a table."""
        with tolerated(f"the table {key}"):
            super().log_table(key, *args, **kwargs)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run; what is logged after that goes on with it."""
        ended = self._experiment
        if ended is None:
            return
        with tolerated("that the run has ended"):
            super().finalize(status)
            ended.finish(exit_code=0 if status == "success" else 1)
        self._id = self._wandb_init["id"] = ended.id
        self._experiment = None


def _warn(what: str, error: Exception) -> None:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    rank_zero_warn(f"Weights & Biases was not told {what}: {reason}.")
