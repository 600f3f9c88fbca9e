"""What the attributes of one kind, such as genres, add to a score."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Gate: TypeAlias = Literal["fixed", "adaptive", "learned"]

CAP = 0.5
"""No attribute term weighs more than this."""


class AttributeTerm(nn.Module):
    """A term of the score: w(user) q(user) T . v(item).

    v is the mean embedding of the item's values, q the mean of v over the user's own items. The matrix T is zero at the
    start: the term is silent until training finds a use for it. The weight w of a user is

        fixed:     base
        adaptive:  min(cap, base (1 + 0.5 (1 - activity) + 0.3 diversity))
        learned:   cap sigmoid(b - e^a (activity - 1/2) + e^c (diversity - 1/2)),    about base at the start

    with two numbers in 0..1 of the user: activity, the log of how many items there are, and diversity, the entropy of
    their values. Whatever a and c, the learned weight falls with activity and rises with diversity.

    Args:
        dim: D.
        gate: how the weight depends on the user.
        base: above 0 and below the cap.
    """

    def __init__(self, dim: int, gate: Gate, base: float) -> None:
        super().__init__()
        self.gate = gate
        self.base = base
        self.transform = nn.Parameter(torch.zeros(dim, dim))
        if gate == "learned":
            self.gates = nn.Parameter(torch.tensor([base / (CAP - base), 0.5, 0.5]).log())

    def forward(self, taste: Tensor, weight: Tensor) -> Tensor:
        """The user's side of the term, w q T: (B, D), (B,) -> (B, D)."""
        return weight[:, None] * (taste @ self.transform)

    def weight(self, activity: Tensor, diversity: Tensor) -> Tensor:
        """The w of users: (B,), (B,) -> (B,)."""
        if self.gate == "fixed":
            return torch.full_like(activity, self.base)
        if self.gate == "adaptive":
            return (self.base * (1 + 0.5 * (1 - activity) + 0.3 * diversity)).clamp(max=CAP)
        middle, fall, rise = self.gates
        return CAP * torch.sigmoid(middle - fall.exp() * (activity - 0.5) + rise.exp() * (diversity - 0.5))
