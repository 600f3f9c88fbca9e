"""Content-kNN: items that are like those a user has, whoever had them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.memory import require
from recsys_lightning.models.mimic import unit
from recsys_lightning.models.sparse import pool, take
from recsys_lightning.schema import Schema


class ContentKNN(Linear):
    """Scores an item by its likeness to each of the user's items, added up.

        likeness(i, j) = x_i . x_j,    x_i = unit([unit(idf of the item's codes), of all kinds; weight unit(numbers)])

    The idf of a code is log(1 + N / n), of N items with interactions and those n of them that have the code. What
    nobody has had yet is as well known as anything else, which makes this the floor for new items; how popular an item
    is counts for nothing.

    Source: content vectors and their centroid as in Rocchio's relevance feedback; Pazzani and Billsus, 2007.

    Args:
        schema: sizes of the data; it must have features.
        numbers: weight of the numbers beside the categories, from 0.

    Raises:
        InputError: an argument is out of its range, the data have no features, or (in `fit`) the vectors do not fit in
            memory.
    """

    reads_features = True
    grid: ClassVar[dict[str, list[float]]] = {"numbers": [0.0, 0.3, 1.0]}

    content: Tensor  # (I, F + codes), rows of length 1, or 0 where nothing is known

    def __init__(self, schema: Schema, numbers: float = 0.3) -> None:
        super().__init__(schema)
        if not numbers >= 0:
            raise InputError(f"ContentKNN needs a weight of numbers from 0, and was given {numbers}.")
        if not schema.features:
            raise InputError(
                "ContentKNN reads features of items, and the data were prepared without. Say in data.features which "
                "columns become features."
            )
        self.numbers = numbers
        self.width = len(schema.numbers) + sum(schema.categories.values())
        self.sizes = list(schema.categories.values())

    def solve(self, views: Views) -> None:
        """Vectors of the items."""
        require(
            12 * self.num_items * self.width,
            views.device,
            f"ContentKNN on {self.num_items:,} items with {self.width:,} numbers and codes",
            "Take fewer codes (data.features.top), or fewer items (item_core or limit_items of the data).",
        )
        features, known = views.features, views.popularity > 0
        codes = [_weighed(codes, size, known) for codes, size in zip(features.categories, self.sizes, strict=True)]
        numbers = self.numbers * unit(features.numbers)
        self.keep(content=unit(torch.cat([unit(torch.cat([*codes, numbers[:, :0]], 1)), numbers], 1)))

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        """Sums of likenesses: (B,) -> (B, I)."""
        return pool(take(rows, user), self.content) @ self.content.T


def _weighed(codes: CSR, size: int, known: Tensor) -> Tensor:
    """The idf of the codes that each item has: (I, size)."""
    row = codes.row
    count = torch.bincount(codes.col[known[row]], minlength=size)
    idf = (1 + known.sum() / count.clamp(min=1)).log()
    found = torch.zeros(len(codes.crow) - 1, size, device=row.device)
    found[row, codes.col] = idf[codes.col]
    return found
