"""What the closed-form models share: a user is represented by a row of scores, an item by its own index."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.base import Recommender


class ClosedForm(Recommender):
    """A model that `fit` solves from the visible rows, and that scores a user by the items of the user's own row.

    `fit` decides what is known of the items, `encode` which rows the users are known by: fitted on train and encoded
    on train and val, it ranks for the test as a model that is not fitted again. A subclass implements `solve` and
    `rank`; what `solve` finds it keeps in buffers that no checkpoint holds.
    """

    closed_form: ClassVar[bool] = True
    grid: ClassVar[dict[str, list[float]]] = {}
    """Values to try for each argument when the model is tuned on val; empty where there is nothing to tune."""

    fitted = False

    def fit(self, views: Views) -> None:
        """Solve the model from the visible rows, on the device where they lie."""
        with torch.no_grad():
            self.solve(views)
        self.fitted = True

    def solve(self, views: Views) -> None:
        """Set the buffers."""
        raise NotImplementedError

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Scores of users (B,) for all items by the rows (U) that they are known by -> (B, I)."""
        raise NotImplementedError

    def encode(self, views: Views) -> CSR:
        """The rows by which users are known."""
        if not self.fitted:
            raise RuntimeError(f"{type(self).__name__} was asked for scores before fit(views)")
        return views.train

    def users(self, state: CSR, user: Tensor) -> Tensor:
        """Score rows of users (B,) -> (B, I)."""
        return self.rank(state, user)

    def items(self, state: CSR, item: Tensor | None = None) -> Tensor:
        """Items by their indices: (...) -> (..., 1), or all of them (I, 1)."""
        if item is None:
            item = torch.arange(self.num_items, device=state.crow.device)
        return item.unsqueeze(-1)

    def score(self, u: Tensor, i: Tensor) -> Tensor:
        """Entries of score rows (..., I) at items (..., 1) -> (...)."""
        _, i = torch.broadcast_tensors(u[..., :1], i)  # type: ignore[no-untyped-call]
        return u.expand(*i.shape[:-1], -1).gather(-1, i).squeeze(-1)

    def cross(self, u: Tensor, i: Tensor) -> Tensor:
        """Columns of score rows: (B, I), (N, 1) -> (B, N)."""
        return u[:, i.squeeze(-1)]

    def score_all(self, u: Tensor, state: CSR) -> Tensor:
        """Score rows as they are."""
        return u

    def keep(self, **buffers: Tensor) -> None:
        """Hold what `solve` found: moved with the module, left out of checkpoints."""
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
