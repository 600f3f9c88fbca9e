"""Watches for the point from which on a training gets better at its own rows only."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from recsys_lightning.callbacks.watching import Recorder
from recsys_lightning.errors import InputError

VAL_LOSS = "val/loss"


class Overfitting(Recorder):
    """Compares the figure of val that selects, and the loss of val where one is logged, with the loss of training.

    After each epoch with a validation it logs `overfitting/gap`: by what share of its best so far the figure is worse
    than that, 0 where it is the best; and `overfitting/loss_gap`, val less train, where both losses are logged. It says
    once, in words, when the figure has been worse than its best by `tolerance` for several validations in a row while
    the loss of training went on falling. It stops nothing.

    Args:
        monitor: the figure of val; the one that selects the checkpoint by default.
        mode: whether more of it is better, `max` or `min`; that of the checkpoint by default.
        train: the loss of training.
        patience: validations in a row that must be worse.
        tolerance: share of the best by which they must be.

    Raises:
        InputError: an argument is out of its range, or a figure is named without its mode.
    """

    name, group = "overfitting", "overfitting"

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["max", "min"] | None = None,
        train: str = "train/loss",
        patience: int = 3,
        tolerance: float = 0.01,
    ) -> None:
        super().__init__()
        if patience < 1 or not 0 <= tolerance < 1:
            raise InputError(
                f"Overfitting was given patience {patience} and tolerance {tolerance}: at least 1, and from 0 to less "
                "than 1, are needed."
            )
        if (monitor is None) != (mode is None):
            raise InputError("Overfitting needs both monitor and mode (max or min), or none of them.")
        self.monitor, self.mode, self.train = monitor, mode, train
        self._figure, self._larger = "val/ndcg_10", True
        self.patience, self.tolerance = patience, tolerance

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out which figure selects."""
        if self.monitor is not None:
            self._figure, self._larger = self.monitor, self.mode == "max"
            return
        checkpoint = trainer.checkpoint_callback
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor is not None:
            self._figure, self._larger = checkpoint.monitor, checkpoint.mode == "max"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, where there was a validation in this epoch."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        every = trainer.check_val_every_n_epoch
        validated = trainer.enable_validation and (every is None or (trainer.current_epoch + 1) % every == 0)
        if self._figure not in metrics or not validated:
            return
        kept = {"value": metrics[self._figure]}
        loss = metrics.get(f"{self.train}_epoch", metrics.get(self.train))
        logged = {"gap": _behind([*self._past("value"), kept["value"]], self._larger)}
        if loss is not None:
            kept["train_loss"] = loss
        if VAL_LOSS in metrics and self._figure != VAL_LOSS:
            kept["val_loss"] = metrics[VAL_LOSS]
            kept["val_loss_gap"] = _behind([*self._past("val_loss"), kept["val_loss"]], larger=False)
        if VAL_LOSS in metrics and loss is not None:
            logged["loss_gap"] = metrics[VAL_LOSS] - loss
        self.record(trainer, pl_module, logged, kept)
        self._judge(self._figure, "value", "gap", self._larger)
        self._judge(VAL_LOSS, "val_loss", "val_loss_gap", larger=False)

    def about(self) -> dict[str, Any]:
        """What was compared."""
        return {"monitor": self._figure, "train": self.train, "larger": self._larger}

    def _past(self, figure: str) -> list[float]:
        return [row[figure] for row in self.rows if figure in row]

    def _judge(self, name: str, figure: str, gap: str, larger: bool) -> None:
        """Say so where a figure has got worse since its best, and the loss of training better."""
        rows = [row for row in self.rows if figure in row and "train_loss" in row]
        if len(rows) <= self.patience or not self.lasts(gap, self.patience, above=self.tolerance):
            return
        best = (max if larger else min)(rows, key=lambda row: row[figure])
        now = rows[-1]
        if best in rows[-self.patience :] or now["train_loss"] >= best["train_loss"]:
            return
        self.warn_once(
            name,
            f"Overfitting: {name} was best after epoch {best['epoch']:.0f} ({best[figure]:.4f}) and is {now[gap]:.1%} "
            f"worse after epoch {now['epoch']:.0f} ({now[figure]:.4f}), while the loss of training fell from "
            f"{best['train_loss']:.4f} to {now['train_loss']:.4f}: what is learned since is of the train rows only. "
            "Use more weight decay or dropout, or a smaller model, or stop earlier (--early_stopping.patience).",
        )


def _behind(values: list[float], larger: bool) -> float:
    """By what share of the best of all values the last one is worse."""
    best = (max if larger else min)(values)
    return abs(values[-1] - best) / abs(best) if best else 0.0
