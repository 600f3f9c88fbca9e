"""Which precisions cannot train."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from recsys_lightning.errors import InputError


def refuse_float16(task: LightningModule) -> None:
    """Refuse to train parameters in float16.

    Raises:
        InputError: the precision is 16-true.
    """
    if task.trainer.precision == "16-true":
        raise InputError(
            f"{type(task).__name__} does not train in 16-true: parameters and Adam's steps overflow or vanish in "
            "float16, and the loss becomes NaN. Set --trainer.precision bf16-true or 16-mixed."
        )
