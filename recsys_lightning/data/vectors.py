"""Vectors of users and items in a file, with the ids, the schema and the fingerprint of the data they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_lightning.batches import Vectors

if TYPE_CHECKING:
    from recsys_lightning.data.prepared import Prepared


@dataclass(frozen=True, eq=False)
class FrozenVectors:
    """Vectors that an earlier run left, in the order of the users and items of these data.

    Attributes:
        vectors: on the CPU.
        digest: of the vectors.
        model: that made them.
    """

    vectors: Vectors
    digest: str
    model: str

    @property
    def width(self) -> int:
        """D."""
        return self.vectors.item.shape[-1]

    def tensors(self) -> Vectors:
        """The vectors, as views hold them."""
        return self.vectors


def read_vectors(file: Path, prepared: Prepared) -> FrozenVectors:
    """Read a file of vectors that was made of the same data.

    Raises:
        InputError: it cannot be read, is of other data, or holds numbers that are not finite.
    """
    raise NotImplementedError
