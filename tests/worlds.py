"""Small synthetic worlds for tests."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.sources.base import Card, Raw, Source
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


class MemorySource(Source):
    """A source that holds its rows in memory: users like the items of their block; times follow the rows."""

    name = "world"
    folder = "world"
    card = Card(title="A synthetic world", licence="none", homepage="none")
    item_type = "movie"
    attributes: ClassVar[dict[str, str]] = {"genres": "genre"}

    def __init__(self, num_users: int = 60, num_items: int = 40, num_blocks: int = 3, seed: int = 0) -> None:
        super().__init__(Path("."))
        self.sizes = (num_users, num_items, num_blocks, seed)

    def files(self) -> list[Path]:
        return []

    def options(self) -> dict[str, object]:
        return {"sizes": list(self.sizes)}

    def read(self) -> Raw:
        num_users, num_items, num_blocks, seed = self.sizes
        pairs = blocks(num_users, num_items, num_blocks, seed)[1].train
        order = np.random.default_rng(seed).permutation(len(pairs.col))
        items = [f"m{item}" for item in range(num_items)]
        interactions = Interactions(
            user=pairs.row.numpy().astype(np.int32)[order],
            item=pairs.col.numpy().astype(np.int32)[order],
            user_ids=pa.array([f"u{user}" for user in range(num_users)]),
            item_ids=pa.array(items),
            timestamp=np.arange(len(order), dtype=np.int64) * 3600,
        )
        genres = [[f"block {item % num_blocks}"] for item in range(num_items)]
        titles = [f"Movie {item}" for item in range(num_items)]
        lengths = [float(80 + item) for item in range(num_items)]
        table = pd.DataFrame({"title": titles, "genres": genres, "length": lengths}, index=items)
        return Raw(interactions, table, pd.DataFrame(index=interactions.user_ids.to_pylist()))


class DomainSource(MemorySource):
    """Movies and books, of unequal numbers: a third of the users has both, a third each one of them."""

    name = "two-domains"
    folder = "two-domains"
    item_type = "item"

    def __init__(self, num_users: int = 60, num_items: int = 40, num_blocks: int = 3, seed: int = 0) -> None:
        super().__init__(num_users, num_items, num_blocks, seed)

    def read(self) -> Raw:
        num_users, num_items, num_blocks, seed = self.sizes
        sizes = {"movie": num_items, "book": num_items - 10}
        users, items, titles = [], [], []
        for code, (domain, size) in enumerate(sizes.items()):
            pairs = blocks(num_users, size, num_blocks, seed + code)[1].train
            chosen = pairs.row % 3 != 2 - code
            users.append(pairs.row[chosen].numpy())
            items.append(pairs.col[chosen].numpy() + code * num_items)
            titles += [f"{domain} {item}" for item in range(size)]
        order = np.random.default_rng(seed).permutation(sum(map(len, users)))
        ids = [title.replace(" ", "") for title in titles]
        interactions = Interactions(
            user=np.concatenate(users).astype(np.int32)[order],
            item=np.concatenate(items).astype(np.int32)[order],
            user_ids=pa.array([f"u{user}" for user in range(num_users)]),
            item_ids=pa.array(ids),
            timestamp=np.arange(len(order), dtype=np.int64) * 3600,
            domain=np.repeat(np.arange(2, dtype=np.int8), list(sizes.values())),
            domains=tuple(sizes),
        )
        table = pd.DataFrame({"title": titles}, index=ids)
        return Raw(interactions, table, pd.DataFrame(index=interactions.user_ids.to_pylist()))


def write_csv(path: Path, **sizes: int) -> None:
    """The rows of a `MemorySource` as a CSV file of user_id, item_id, timestamp."""
    rows = MemorySource(**sizes).read().interactions
    assert rows.timestamp is not None
    frame = {
        "user_id": rows.user_ids.take(pa.array(rows.user)).to_pylist(),
        "item_id": rows.item_ids.take(pa.array(rows.item)).to_pylist(),
        "timestamp": rows.timestamp + 1_000_000_000,
    }
    pd.DataFrame(frame).to_csv(path, index=False)
