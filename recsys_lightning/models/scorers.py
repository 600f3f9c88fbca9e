"""How well a user and an item match: three scorers behind one interface."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import linear

from recsys_lightning.errors import InputError

Name: TypeAlias = Literal["dot", "bilinear", "mlp"]

BLOCK = {"cpu": 1 << 19, "cuda": 1 << 26}
"""Numbers in the widest tensor that `MLP.cross` makes at a time: on CPU a cache holds it, on CUDA launches are rare."""


class Scorer(nn.Module):
    """Scores of users and items. What an item alone decides is its key, made once for all users."""

    def keys(self, i: Tensor) -> Tensor:
        """Items (..., D) -> their keys (..., D)."""
        return i

    def score(self, u: Tensor, k: Tensor) -> Tensor:
        """Users and keys in pairs: (..., D), (..., D) -> (...); leading dimensions broadcast."""
        product: Tensor = (u * k).sum(-1) * u.shape[-1] ** -0.5
        return product

    def cross(self, u: Tensor, k: Tensor) -> Tensor:
        """Every user with every key: (B, D), (N, D) -> (B, N)."""
        product: Tensor = u @ k.T * u.shape[-1] ** -0.5
        return product


class Dot(Scorer):
    """The dot product u . i / sqrt(D)."""


class Bilinear(Scorer):
    """The bilinear form u . W i / sqrt(D).

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Linear(dim, dim, bias=False)

    def keys(self, i: Tensor) -> Tensor:
        """W i: (..., D) -> (..., D)."""
        key: Tensor = self.weight(i)
        return key


class MLP(Scorer):
    """Two hidden layers over the product of a user and an item.

        score = w3 . relu(W2 relu(W1 (c * u) + b1) + b2) + b3,    c = W i + b

    c is what attention of the user over this one item gives: a softmax over a single key is 1, whatever the query.

    Args:
        dim: D.
        dropout: after each relu, in training.
    """

    def __init__(self, dim: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = dropout
        self.key = nn.Linear(dim, dim)
        self.first = nn.Linear(dim, 128)
        self.second = nn.Linear(128, 64)
        self.last = nn.Linear(64, 1)

    def keys(self, i: Tensor) -> Tensor:
        """c: (..., D) -> (..., D)."""
        key: Tensor = self.key(i)
        return key

    def score(self, u: Tensor, k: Tensor) -> Tensor:
        """Users and keys in pairs: (..., D), (..., D) -> (...); leading dimensions broadcast."""
        return self._above(self.first(k * u))

    def cross(self, u: Tensor, k: Tensor) -> Tensor:
        """Every user with every key: (B, D), (N, D) -> (B, N).

        W1 (c * u) is (W1 * u) c: one wide matrix product for a block of users.
        """
        size = max(1, BLOCK.get(u.device.type, 1 << 20) // self.first.out_features)
        items = k.split(size)  # type: ignore[no-untyped-call]
        users = u.split(max(1, size // max(1, len(k))))  # type: ignore[no-untyped-call]
        return torch.cat([torch.cat([self._product(some, few) for few in items], 1) for some in users])

    def _product(self, u: Tensor, k: Tensor) -> Tensor:
        """One block of `cross`."""
        weight = (self.first.weight * u[:, None]).flatten(0, 1)
        wide = linear(k, weight, self.first.bias.repeat(len(u)))
        return self._above(wide.view(len(k), len(u), self.first.out_features)).T

    def _above(self, h: Tensor) -> Tensor:
        """What follows W1 and its bias: (..., 128) -> (...)."""
        h = self.second(drop(h.relu_(), self.dropout, self.training))
        out: Tensor = self.last(drop(h.relu_(), self.dropout, self.training)).squeeze(-1)
        return out


def scorer(name: str, dim: int, dropout: float) -> Scorer:
    """A scorer by its name.

    Args:
        name: `dot`, `bilinear` or `mlp`.
        dim: D.
        dropout: of `mlp`.

    Raises:
        InputError: there is no such scorer.
    """
    if name == "dot":
        return Dot()
    if name == "bilinear":
        return Bilinear(dim)
    if name == "mlp":
        return MLP(dim, dropout)
    raise InputError(f"There is no scorer {name!r}; there are dot, bilinear and mlp.")
