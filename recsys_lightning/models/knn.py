"""Item-kNN: items that the same users have."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.sparse import blocks, cooccurrence, entries, transpose
from recsys_lightning.schema import Schema

BLOCK = 1024
"""Target items whose similarities to all others are held at a time."""
ENTRIES = 1 << 23
"""(user, own item, target) triples that are summed up at a time: each takes some 30 bytes."""


class ItemKNN(Linear):
    """Scores an item by its similarity to its nearest neighbours among the user's items.

    Similarity is the cosine of item columns of the binary train matrix, or its asymmetric form, for an item i that
    the user has and the target j that is scored:

        |i and j| / (|i|^asymmetry |j|^(1 - asymmetry) + shrinkage)

    The nearest neighbours are kept for each *target* item: kept for each item that the user has, it would be another
    model. More asymmetry punishes popular targets less.

    Source: Deshpande and Karypis, ACM TOIS 22(1), 2004; asymmetric: Aiolli, RecSys 2013.

    Args:
        schema: sizes of the data.
        neighbours: kept for each item, at least 1.
        shrinkage: lowers similarities that rest on few users, from 0.
        asymmetry: from 0 to 1; 0.5 is the cosine.

    Raises:
        InputError: an argument is out of its range.
    """

    grid: ClassVar[dict[str, list[float]]] = {
        "neighbours": [20, 100, 500],
        "shrinkage": [0.0, 10.0, 100.0],
        "asymmetry": [0.5, 0.8],
    }

    crow: Tensor  # (I + 1,)
    target: Tensor  # (I * neighbours,), for each item the targets whose neighbour it is
    similarity: Tensor  # (I * neighbours,)

    def __init__(self, schema: Schema, neighbours: int = 100, shrinkage: float = 0.0, asymmetry: float = 0.5) -> None:
        super().__init__(schema)
        if neighbours < 1 or shrinkage < 0 or not 0 <= asymmetry <= 1:
            raise InputError(
                "ItemKNN needs neighbours of at least 1, a shrinkage of at least 0 and an asymmetry from 0 to 1, and "
                f"was given {neighbours}, {shrinkage} and {asymmetry}."
            )
        self.neighbours = neighbours
        self.shrinkage = shrinkage
        self.asymmetry = asymmetry

    def solve(self, views: Views) -> None:
        """Find each item's neighbours, a block of items at a time."""
        degree = views.popularity.clamp(min=1).float()
        source, target = degree**self.asymmetry, degree ** (1 - self.asymmetry)
        count = min(self.neighbours, self.num_items)
        nearest = []
        for item in blocks(self.num_items, BLOCK, views.device):
            cosine = cooccurrence(views, item).T.contiguous()
            cosine /= target[item, None] * source + self.shrinkage
            cosine[torch.arange(len(item), device=item.device), item] = 0.0
            nearest.append(cosine.topk(count))
        similarity = torch.cat([top.values for top in nearest]).flatten()
        neighbour = torch.cat([top.indices for top in nearest])
        kept = CSR(torch.arange(0, neighbour.numel() + 1, count, device=views.device), neighbour.flatten())
        by_neighbour, position = transpose(kept, self.num_items)
        self.keep(crow=by_neighbour.crow, target=by_neighbour.col, similarity=similarity[position])

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Sums of similarities: (B,) -> (B, I), of so many users at a time as ENTRIES allows."""
        longest = int(rows.degree[user].max()) if len(user) else 0
        targets = len(self.similarity) // self.num_items  # on average, an item is a neighbour of so many
        size = max(1, ENTRIES // max(1, longest * targets))
        return torch.cat([self._rank(rows, part) for part in torch.split(user, size)])

    def _rank(self, rows: CSR, user: Tensor) -> Tensor:
        bounds, own = entries(rows, user)
        crow, position = entries(CSR(self.crow, self.target), rows.col[own])
        row = CSR(crow[bounds], position).row
        scores = self.similarity.new_zeros(len(user) * self.num_items)
        scores.index_add_(0, row * self.num_items + self.target[position], self.similarity[position])
        return scores.view(len(user), self.num_items)
