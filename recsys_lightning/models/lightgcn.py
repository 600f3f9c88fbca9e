"""LightGCN: embeddings, smoothed over the graph of users and items."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.mf import MF
from recsys_lightning.models.sparse import pool, transpose
from recsys_lightning.schema import Schema


class Adjacency(NamedTuple):
    """D^-1/2 A D^-1/2 of the graph of users and items, as its two blocks: (U, I), and the transposed."""

    user: CSR
    user_weight: Tensor  # (entries,)
    item: CSR
    item_weight: Tensor  # (entries,)

    def __call__(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """The product with embeddings (U, D) and (I, D)."""
        return pool(self.user, item, self.user_weight), pool(self.item, user, self.item_weight)


@cache
def adjacency(dtype: torch.dtype) -> Callable[[Views], Adjacency]:
    """What builds the adjacency with weights of that dtype, for `views.derive`."""

    def build(views: Views) -> Adjacency:
        users = views.train
        items, position = transpose(users, views.num_items)
        norm = (users.degree[users.row] * items.degree[users.col.long()]).double().rsqrt().to(dtype)
        users, items = (CSR(rows.crow.int(), rows.col.int()) for rows in (users, items))
        return Adjacency(users, norm, items, norm[position])

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

    def __init__(self, schema: Schema, dim: int = 64, layers: int = 3) -> None:
        super().__init__(schema, dim)
        if layers < 0:
            raise InputError(f"LightGCN needs at least 0 layers, and was given {layers}.")
        self.layers = layers

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

    def penalty(self, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings e^(0) that a batch touches, divided by B; a scalar."""
        users = embedding(user, self.user, sparse=True)
        items = embedding(torch.cat([item, negative.flatten()]), self.item, sparse=True)
        return (users.square().sum() + items.square().sum()) / (2 * len(user))
