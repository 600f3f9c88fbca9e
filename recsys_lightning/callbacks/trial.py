"""Tells a search how a run gets on, and ends the run where the search gives it up."""

from __future__ import annotations

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer


class ReportTrial(Callback):
    """Reports a val metric after every validation.

    Args:
        metric: its name.
        maximize: whether more of it is better.
        report: is told the epoch and the value, and says whether to stop.

    Attributes:
        best: value so far; None before the first validation.
        epochs: that were validated.
        stopped: whether the run was given up.
    """

    def __init__(self, metric: str, maximize: bool, report: Callable[[int, float], bool]) -> None:
        self.metric, self.maximize, self.report = metric, maximize, report
        self.best: float | None = None
        self.epochs = 0
        self.stopped = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report; the run ends after this epoch where it is given up, so its checkpoints are whole."""
        if trainer.sanity_checking:
            return
        value = float(trainer.callback_metrics[self.metric])
        self.best = value if self.best is None else (max if self.maximize else min)(self.best, value)
        self.epochs += 1
        if self.report(trainer.current_epoch, value):
            self.stopped = trainer.should_stop = True
