"""LightGCN: embeddings, smoothed over the graph of users and items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.mf import MF
from recsys_lightning.models.sparse import pool, transpose
from recsys_lightning.schema import EdgeType, Schema


class Adjacency(NamedTuple):
    """D^-1/2 A D^-1/2 of the graph of users and items, as its two blocks: (U, I), and the transposed."""

    user: CSR
    user_weight: Tensor  # (entries,)
    item: CSR
    item_weight: Tensor  # (entries,)
    position: Tensor  # (entries,) the place in `user` of each entry of `item`

    def __call__(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """The product with embeddings (U, D) and (I, D)."""
        return pool(self.user, item, self.user_weight), pool(self.item, user, self.item_weight)

    def weighed(self, weight: Tensor) -> Adjacency:
        """Every entry times its weight (entries,), in the order of `user`, in both blocks."""
        item_weight = self.item_weight * weight[self.position.long()]
        return self._replace(user_weight=self.user_weight * weight, item_weight=item_weight)


@cache
def adjacency(dtype: torch.dtype) -> Callable[[Views], Adjacency]:
    """What builds the adjacency with weights of that dtype, for `views.derive`."""

    def build(views: Views) -> Adjacency:
        users = views.train
        items, position = transpose(users, views.num_items)
        norm = (users.degree[users.row] * items.degree[users.col.long()]).double().rsqrt().to(dtype)
        users, items = (CSR(rows.crow.int(), rows.col.int()) for rows in (users, items))
        return Adjacency(users, norm, items, norm[position], position.int())

    return build


class Propagate(Function):
    """The mean of e, A e, ..., A^layers e.

    It is a polynomial of a symmetric matrix, so its gradient is the same function of the incoming gradient: nothing
    is stored between the two, and no matrix is transposed.
    """

    @staticmethod
    def forward(ctx: Any, user: Tensor, item: Tensor, matrix: Adjacency, layers: int) -> tuple[Tensor, Tensor]:
        """Embeddings (U, D), (I, D) -> their smoothed selves."""
        ctx.matrix, ctx.layers = matrix, layers
        return propagate(user, item, matrix, layers)

    @staticmethod
    def backward(ctx: Any, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The same again."""
        return *propagate(user.to_dense(), item.to_dense(), ctx.matrix, ctx.layers), None, None


class Dense(Function):
    """A table as it is, whose gradient, rows that were read, is made a table again."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        """The same."""
        return table.view_as(table)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The same, dense."""
        return gradient.to_dense()


def propagate(user: Tensor, item: Tensor, matrix: Adjacency, layers: int) -> tuple[Tensor, Tensor]:
    """(e + A e + ... + A^layers e) / (layers + 1) by Horner's rule, x <- e + A x, which needs no list of layers."""
    u, i = user, item
    for _ in range(layers):
        u, i = matrix(u, i)
        u += user
        i += item
    return (u.div_(layers + 1), i.div_(layers + 1)) if layers else (u.clone(), i.clone())


class LightGCN(MF):
    """Matrix factorisation on embeddings that are averaged over their neighbourhoods.

        e^(l+1) = D^-1/2 A D^-1/2 e^(l),    e = mean of e^(0), ..., e^(layers),    score = e_u . e_i

    A is the graph of users and items of the visible rows. There are no weights but the embeddings e^(0), which is
    also what `penalty` holds small. A node without neighbours keeps e^(0) / (layers + 1).

    Source: He et al., SIGIR 2020, arXiv 2002.02126.

    Args:
        schema: sizes of the data.
        dim: D, width of the embeddings, at least 1.
        layers: propagations, from 0, where it is MF.

    Raises:
        InputError: an argument is out of its range.
    """

    tables: ClassVar[tuple[str, ...]] = ()  # a step reads all rows

    def __init__(self, schema: Schema, dim: int = 64, layers: int = 3) -> None:
        super().__init__(schema, dim)
        if layers < 0:
            raise InputError(f"LightGCN needs at least 0 layers, and was given {layers}.")
        self.layers = layers
        self.rates = ("user", "rates", schema.item_type)

    def encode(self, views: Views) -> Embeddings:
        """Propagate once over the graph."""
        matrix = views.derive(adjacency(self.user.dtype))
        return Embeddings(*Propagate.apply(self.user, self.item, matrix, self.layers))  # type: ignore[no-untyped-call]

    # A batch reads few rows. Their gradients travel as rows up to `Propagate`, whose own gradient is dense: else each
    # of the reads would fill, and each sum of two would add, a matrix of the size of the embeddings.

    def users(self, state: Embeddings, user: Tensor) -> Tensor:
        """Smoothed embeddings of users (B,) -> (B, D)."""
        return embedding(user, state.user, sparse=True)

    def items(self, state: Embeddings, item: Tensor | None = None) -> Tensor:
        """Smoothed embeddings of items (...) -> (..., D), or of all (I, D)."""
        return state.item if item is None else embedding(item, state.item, sparse=True)

    def penalty(self, state: Embeddings, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings e^(0) that a batch touches, divided by B; a scalar."""
        users = embedding(user, self.user, sparse=True)
        items = embedding(torch.cat([item, negative.flatten()]), self.item, sparse=True)
        return (users.square().sum() + items.square().sum()) / (2 * len(user))

    def encode_weighed(self, views: Views, weight: Mapping[EdgeType, Tensor]) -> Embeddings:
        """The state when what edges pass on, in both directions, is multiplied by their weights (E,).

        Degrees stay as they are. Gradients reach the weights.
        """
        if self.rates not in weight:
            return self.encode(views)
        matrix = views.derive(adjacency(self.user.dtype)).weighed(weight[self.rates])
        return Embeddings(*map(Dense.apply, propagate(self.user, self.item, matrix, self.layers)))

    def contributions(self, views: Views, state: Embeddings, user: int, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each item of a user adds to the scores of items (K,), as the last hop to the user divides them.

            e_u = (e_u^(0) + sum over own items j of A_uj (e_j^(0) + ... + e_j^(layers - 1))) / (layers + 1)

        The dot product with e_i makes the own items' values of the sum, and the rest of e_u^(0).

        Returns:
            own: (n,) the user's items.
            value: (K, n) of each.
            rest: (K,); value and rest add up to the scores.
        """
        matrix = views.derive(adjacency(self.user.dtype))
        places = slice(int(matrix.user.crow[user]), int(matrix.user.crow[user + 1]))
        own, target = matrix.user.col[places].long(), self.items(state, item)
        rest = target @ self.user[user] / (self.layers + 1)
        if not self.layers:
            return own, rest.new_zeros(len(item), len(own)), rest
        passed = propagate(self.user, self.item, matrix, self.layers - 1)[1][own] * self.layers
        passed = passed * matrix.user_weight[places, None] / (self.layers + 1)
        return own, target @ passed.T, rest
