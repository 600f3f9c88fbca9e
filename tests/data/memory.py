"""A source that lies in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.sources.base import Card, Raw, Source


def interactions(pairs: Sequence[tuple[str, str]], **columns: Any) -> Interactions:
    """Interactions of raw pairs, ids coded in order of first appearance, as readers do it."""
    user, user_ids = pd.factorize(np.array([pair[0] for pair in pairs], object))
    item, item_ids = pd.factorize(np.array([pair[1] for pair in pairs], object))
    dtypes = {"rating": np.float32, "timestamp": np.int64, "order": np.int64, "split": np.int8}
    arrays = {name: np.asarray(column, dtypes[name]) for name, column in columns.items()}
    return Interactions(
        user.astype(np.int32),
        item.astype(np.int32),
        pa.array(user_ids, pa.string()),
        pa.array(item_ids, pa.string()),
        **arrays,
    )


class Memory(Source):
    """Interactions and tables given directly; `file` stands for the raw file in cache keys."""

    name = "memory"
    folder = "memory"
    card = Card("in memory", "none", "none")
    item_type = "movie"
    attributes = {"genres": "genre"}  # noqa: RUF012

    def __init__(
        self,
        rows: Interactions,
        items: pd.DataFrame | None = None,
        users: pd.DataFrame | None = None,
        file: Path | None = None,
        variant: str = "",
    ) -> None:
        super().__init__(Path())
        self.rows, self.file, self.variant = rows, file, variant
        self.items = pd.DataFrame() if items is None else items
        self.users = pd.DataFrame() if users is None else users
        self.reads = 0

    def files(self) -> list[Path]:
        return [] if self.file is None else [self.file]

    def read(self) -> Raw:
        self.reads += 1
        return Raw(self.rows, self.items, self.users)

    def options(self) -> dict[str, object]:
        return {"variant": self.variant}


def random_interactions(users: int = 40, items: int = 30, rows: int = 500, seed: int = 0) -> Interactions:
    """Distinct random pairs with ratings and timestamps (some tied), in random order."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(users * items)[:rows]
    return interactions(
        [(f"u{pair // items:03}", f"i{pair % items:03}") for pair in pairs],
        rating=random.integers(1, 11, rows) / 2,
        timestamp=1_000_000_000 + random.integers(0, rows, rows) * 3600,
    )
