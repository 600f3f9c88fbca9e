"""Stops a run whose numbers are no numbers any more."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from recsys_lightning.errors import NonFiniteError
from recsys_lightning.tasks.optimizers import dense_values, total_norm


class StopOnNonFinite(Callback):
    """Stops before the optimizer spreads a NaN or an infinity, and names where it came from.

    Lightning alone trains on NaN to the end and exits with success.

    In 16-mixed, gradients that are too large for float16 are no fault yet: the scaler of the loss leaves that step out
    and scales less from then on. They are one where the loss is not finite itself, or is not scaled up any more.

    Args:
        every_n_steps: look so often; each look waits for the device.
    """

    def __init__(self, every_n_steps: int = 1) -> None:
        self.every_n_steps = every_n_steps
        self._batch: Any = None
        self._batch_idx = 0
        self._loss: Tensor | None = None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Remember the loss."""
        self._loss = loss.detach()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch, to be able to name it."""
        self._batch, self._batch_idx = batch, batch_idx

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the gradients: whatever is not finite in the loss or before it shows there."""
        if trainer.global_step % self.every_n_steps:
            return
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        if gradients and not torch.isfinite(total_norm(gradients)) and not self._is_overflow(trainer, pl_module):
            raise NonFiniteError(
                f"Training diverged at epoch {trainer.current_epoch}, batch {self._batch_idx} (step "
                f"{trainer.global_step}): {self._origin(pl_module)} is the first that is not finite. "
                "Lower the learning rate (model.optimizer.lr), clip gradients (trainer.gradient_clip_val 1.0), or use "
                "full precision (trainer.precision 32-true)."
            )

    def _is_overflow(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether the gradients are too large for float16 only, which the scaler of the loss takes care of."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is None or scaler.get_scale() <= 1 or self._loss is None or not _finite(self._loss):
            return False
        return all(_finite(parameter.detach()) for parameter in module.parameters())

    def _origin(self, module: LightningModule) -> str:
        for name, parameter in module.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"parameter {name}"
        first: list[str] = []

        def watch(name: str) -> Any:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                if isinstance(output, Tensor) and not torch.isfinite(output).all():
                    first.append(f"the output of {name}")

            return hook

        hooks = [child.register_forward_hook(watch(name)) for name, child in module.named_modules() if name]
        try:
            with torch.no_grad():
                loss = module.training_step(self._batch, self._batch_idx)
        finally:
            for handle in hooks:
                handle.remove()
        if first:
            return first[0]
        if isinstance(loss, Tensor) and not torch.isfinite(loss):
            return "the loss"
        bad = [name for name, parameter in module.named_parameters() if not _finite(parameter.grad)]
        return f"the gradient of {bad[-1]}" if bad else "the norm of all gradients"


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(dense_values(gradient)).all())
