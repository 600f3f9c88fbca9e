"""Popularity: the floor under all floors."""

from __future__ import annotations

from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.closed_form import ClosedForm


class Popularity(ClosedForm):
    """Every user gets the items that most interactions are with."""

    count: Tensor  # (I,)

    def solve(self, views: Views) -> None:
        """Count."""
        self.keep(count=views.popularity.float())

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """The same row for everyone: (B,) -> (B, I)."""
        return self.count.repeat(len(user), 1)
