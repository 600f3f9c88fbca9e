"""Small synthetic worlds for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.schema import Schema


def csr(matrix: Tensor) -> CSR:
    """CSR of a dense 0/1 matrix."""
    crow = torch.zeros(len(matrix) + 1, dtype=torch.long)
    crow[1:] = matrix.bool().sum(1).cumsum(0)
    return CSR(crow, matrix.nonzero()[:, 1])


def schema(num_users: int, num_items: int, history_length: int = 8) -> Schema:
    """A schema of the given sizes, with no attributes."""
    return Schema(
        name="world",
        split="none",
        fingerprint=f"world-{num_users}-{num_items}",
        item_type="item",
        num_nodes={"user": num_users, "item": num_items},
        edge_types=(("user", "rates", "item"), ("item", "rev_rates", "user")),
        rating_levels=1,
        time_buckets=8,
        history_length=history_length,
    )


def blocks(num_users: int = 40, num_items: int = 30, num_blocks: int = 3, seed: int = 0) -> tuple[Schema, Views]:
    """Users and items in blocks: a user takes half of the items of the own block, and a few others."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.arange(num_users)[:, None] % num_blocks == torch.arange(num_items)[None] % num_blocks
    chance = torch.where(own, 0.5, 0.05)
    matrix = torch.rand(num_users, num_items, generator=generator) < chance
    matrix[torch.arange(num_users), torch.arange(num_users) % num_items] = True
    return schema(num_users, num_items), Views(csr(matrix), num_items)
