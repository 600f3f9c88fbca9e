"""The interactions table: who did what with which item, as integer codes over string ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interactions:
    """Columns of N interactions. Ids are kept exactly as they were written, once each; rows hold codes into them.

    Attributes:
        user: (N,) int32 codes into `user_ids`.
        item: (N,) int32 codes into `item_ids`.
        user_ids: (U,) distinct raw user ids, strings.
        item_ids: (I,) distinct raw item ids, strings.
        rating: (N,) float32, or None for implicit feedback.
        timestamp: (N,) int64 seconds since 1970, or None.
        order: (N,) int64 position in the user's own time line, where there is no clock; or None.
        split: (N,) int8 position in `schema.SPLITS`; or None before a split is made.
        domain: (I,) int8 codes into `domains` for each item; or None where there is one domain.
        domains: names of the domains.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    user_ids: pa.StringArray
    item_ids: pa.StringArray
    rating: NDArray[np.float32] | None = None
    timestamp: NDArray[np.int64] | None = None
    order: NDArray[np.int64] | None = None
    split: NDArray[np.int8] | None = None
    domain: NDArray[np.int8] | None = None
    domains: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user)

    @property
    def num_users(self) -> int:
        """U, ids without rows included."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """I, ids without rows included."""
        return len(self.item_ids)

    @property
    def time(self) -> NDArray[np.int64] | None:
        """(N,) what orders a user's rows: the timestamp where there is one, else the order."""
        return self.timestamp if self.timestamp is not None else self.order

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Interactions:
        """The chosen rows, by position or mask; ids stay as they are."""
        columns: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else column[rows]
            for name in ("user", "item", "rating", "timestamp", "order", "split")
        }
        return replace(self, **columns)
