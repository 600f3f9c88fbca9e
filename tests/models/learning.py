"""A short training that looks at the gradient of every parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Learned(NamedTuple):
    """What a training showed."""

    losses: list[float]
    untouched: set[str]  # parameters whose gradient was zero at every step

    @property
    def better(self) -> bool:
        """Whether the last five losses are less than the first five."""
        return sum(self.losses[-5:]) < sum(self.losses[:5])


def learn(model: nn.Module, loss_of: Callable[[int], Tensor], steps: int, without: Collection[str] = ()) -> Learned:
    """Train, and see that each parameter has a finite gradient at every step, as DDP waits for it.

    Args:
        model: is left in training.
        loss_of: the loss of a step, by its number.
        steps: so many.
        without: parameters that may have none.
    """
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.01)
    untouched, losses = {name for name, _ in model.named_parameters()}, []
    for step in range(steps):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is None and name in without:
                continue
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            if parameter.grad.any():
                untouched.discard(name)
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    return Learned(losses, untouched)
