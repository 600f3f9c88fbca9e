"""What the closed-form models share: a user is represented by a row of scores, an item by its own index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.sparse import entries
from recsys_lightning.schema import EdgeType, Schema


class ClosedForm(Recommender):
    """A model that `fit` solves from the visible rows, and that scores a user by the items of the user's own row.

    `fit` decides what is known of the items, `encode` which rows the users are known by: fitted on train and encoded
    on train and val, it ranks for the test as a model that is not fitted again. A subclass implements `solve` and
    `rank`; what `solve` finds it keeps in buffers that no checkpoint holds.
    """

    closed_form: ClassVar[bool] = True
    folds_in = True
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

    def users_of(self, state: CSR, own: CSR) -> Tensor:
        """Score rows of users who are not in the data, by their own items (B rows): (B, I)."""
        return self.rank(own, torch.arange(len(own.crow) - 1, device=own.crow.device))

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

    def terms(self, state: CSR, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """The scores of pairs (B,), (B,), by one row for each distinct user."""
        distinct, place = torch.unique(user, return_inverse=True)
        return {"base": self.users(state, distinct)[place, item]}

    def keep(self, **buffers: Tensor) -> None:
        """Hold what `solve` found: moved with the module, left out of checkpoints."""
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)


class WeighedRows(NamedTuple):
    """Rows of users whose entries count more or less."""

    crow: Tensor  # (U + 1,)
    col: Tensor  # (entries,)
    weight: Tensor  # (entries,)


class Linear(ClosedForm):
    """A closed form whose scores are sums over the user's own items, whatever else `rank` does.

    So it is known exactly what each of them does for a score: `rank` tells it of a row that holds nothing else.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.rates = ("user", "rates", schema.item_type)

    def users(self, state: CSR | WeighedRows, user: Tensor) -> Tensor:
        """Score rows of users (B,) -> (B, I); by weighed rows too."""
        if isinstance(state, CSR):
            return super().users(state, user)
        crow, position = entries(CSR(state.crow, state.col), user)
        row = CSR(crow, position).row
        scores = torch.zeros(len(user), self.num_items, dtype=state.weight.dtype, device=user.device)
        return scores.index_add(0, row, state.weight[position, None] * self.shares(state.col[position]))

    def shares(self, own: Tensor) -> Tensor:
        """What having an item adds to the score of each item: (n,) -> (n, I)."""
        each = torch.arange(len(own) + 1, device=own.device)
        return self.rank(CSR(each, own), each[:-1])

    def encode_weighed(self, views: Views, weight: Mapping[EdgeType, Tensor]) -> CSR | WeighedRows:
        """The rows of users, with entries that count by the weight (E,) of their edges. What was fitted stays."""
        rows = self.encode(views)
        return WeighedRows(*rows, weight[self.rates]) if self.rates in weight else rows

    def contributions(self, views: Views, state: CSR, user: int, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each item of a user adds to the scores of items (K,).

        Returns:
            own: (n,) the user's items.
            value: (K, n) of each.
            rest: (K,) zeros; value and rest add up to the scores.
        """
        own = state.col[state.crow[user] : state.crow[user + 1]]
        value = self.shares(own)[:, item].T
        return own, value, value.new_zeros(len(item))
