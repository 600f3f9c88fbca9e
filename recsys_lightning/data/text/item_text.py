"""Vectors of what is written about items, as arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.rows import count, offsets

if TYPE_CHECKING:
    from recsys_lightning.batches import Text


@dataclass(frozen=True, eq=False)
class ItemText:
    """Frozen vectors of what is written about items: an overview each, and reviews.

    Attributes:
        overview: (I, D), rows of zeros where there is none.
        known: (I,) items that have one.
        review: (N, D), those of item i are rows crow[i]:crow[i + 1]; none is a row of zeros.
        crow: (I + 1,).
    """

    overview: NDArray[np.float32]
    known: NDArray[np.bool_]
    review: NDArray[np.float32]
    crow: NDArray[np.int64]

    @classmethod
    def of(cls, overview: NDArray[np.float32], review: NDArray[np.float32], item: NDArray[np.int64]) -> ItemText:
        """Out of vectors, of which those that are zeros say nothing and count as missing.

        Args:
            overview: (I, D).
            review: (N, D).
            item: (N,) item of each review, ascending.
        """
        said = review.any(axis=1)
        known: NDArray[np.bool_] = np.asarray(overview.any(axis=1))
        degree = count(item[said], len(overview))
        return cls(overview, known, review if said.all() else review[said], offsets(degree))

    @property
    def width(self) -> int:
        """D."""
        return int(self.overview.shape[1])

    @property
    def max_reviews(self) -> int:
        """R, most reviews of an item."""
        return int(np.diff(self.crow).max(initial=0))

    @property
    def hits(self) -> str:
        """Sizes in words."""
        known, size = int(self.known.sum()), len(self.known)
        reviewed, written = int((np.diff(self.crow) > 0).sum()), len(self.review)
        told = f"{known:,} of {size:,} item{'s' * (size != 1)} {'has' if known == 1 else 'have'} a text"
        if written:
            told += f", {reviewed:,} {'has' if reviewed == 1 else 'have'} {written:,} review{'s' * (written != 1)}"
        return f"{told}; vectors are {self.width} wide"

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with any number."""
        digest = hashlib.blake2b(digest_size=8)
        for array in self._arrays:
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def take(self, source: NDArray[np.int64]) -> ItemText:
        """What results when item i gets all that is written about item source[i]."""
        degree = np.diff(self.crow)[source]
        crow = offsets(degree)
        row = np.arange(crow[-1]) + np.repeat(self.crow[source] - crow[:-1], degree)
        return ItemText(self.overview[source], self.known[source], self.review[row], crow)

    def tensors(self) -> Text:
        """The same as tensors on the CPU."""
        import torch

        from recsys_lightning.batches import Text

        # a tensor on memory that may only be read can be written to all the same, and the process dies
        arrays = (np.require(array, requirements=["C", "W"]) for array in self._arrays)
        return Text(*map(torch.from_numpy, arrays))

    @property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.overview, self.known, self.review, self.crow
