"""Matrix factorisation: a vector for each user and each item, and nothing between them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.sharding import at_hand
from recsys_lightning.models.sparse import rows_at
from recsys_lightning.schema import Schema


class MF(Recommender):
    """Score = dot product of a user's and an item's embedding; trained with BPR it is MF-BPR.

    Source: Rendle et al., arXiv 1205.2618.

    Args:
        schema: sizes of the data.
        dim: D, width of the embeddings, at least 1.

    Raises:
        InputError: an argument is out of its range.
    """

    tables: ClassVar[tuple[str, ...]] = ("user", "item")

    def __init__(self, schema: Schema, dim: int = 64) -> None:
        super().__init__(schema)
        if dim < 1:
            raise InputError(f"{type(self).__name__} needs a dim of at least 1, and was given {dim}.")
        self.user = nn.Parameter(torch.empty(self.num_users, dim))
        self.item = nn.Parameter(torch.empty(self.num_items, dim))
        nn.init.normal_(self.user, std=0.1)
        nn.init.normal_(self.item, std=0.1)

    def encode(self, views: Views) -> Embeddings:
        """The embeddings as they are."""
        return Embeddings(at_hand(self.user), at_hand(self.item))

    def penalty(self, state: Embeddings, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings that a batch touches, divided by B; a scalar."""
        touched = (rows_at(self.user, user), rows_at(self.item, item), rows_at(self.item, negative))
        return torch.stack([rows.square().sum() for rows in touched]).sum() / (2 * len(user))
