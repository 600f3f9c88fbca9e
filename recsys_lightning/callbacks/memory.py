"""Says what took the memory of a device that has none left, and what to turn."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.errors import InputError
from recsys_lightning.tasks.base import Task

LARGEST = 3
"""So many tables are named."""


class ExplainOutOfMemory(Callback):
    """Gives an `OutOfMemoryError` of torch a cause in words, which the command line prints in its place."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Explain it; the error itself goes its way."""
        if isinstance(exception, torch.OutOfMemoryError) and isinstance(pl_module, Task):
            exception.__cause__ = InputError(explanation(pl_module, str(exception)))


def explanation(task: Task, said: str) -> str:
    """What was there to be held, and three knobs.

    Args:
        task: set up.
        said: by torch.
    """
    sizes = {name: value.numel() * value.element_size() / 1e6 for name, value in task.named_parameters()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:LARGEST]
    cause = ". ".join(said.splitlines()[0].split(". ")[:2])
    peak = (
        f" At most {torch.cuda.max_memory_allocated() / 1e6:,.0f} MB were in use." if torch.cuda.is_available() else ""
    )
    rows = f"{task.datamodule.batch_size:,} rows"
    if task.schema is not None:
        rows += f", {task.schema.num_users:,} users and {task.schema.num_items:,} items"
    return (
        f"The device has no memory left ({cause}).{peak} There were batches of {rows}; the largest parameters are "
        f"{', '.join(f'{name} {sizes[name]:,.1f} MB' for name in largest)}, and Adam keeps two more of each. "
        "Take a smaller --data.batch_size, --trainer.precision bf16-mixed, or a smaller --model.recommender.dim."
    )
