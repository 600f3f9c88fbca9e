"""What makes vectors of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class TextEmbedder(ABC):
    """Makes a vector of each text, the same one whenever it is asked.

    Attributes:
        fits: whether vectors depend on the texts it is fitted on.
    """

    fits: ClassVar[bool]

    @property
    @abstractmethod
    def key(self) -> str:
        """All that decides the vectors, beside the texts: the model with its revision, and settings."""

    @abstractmethod
    def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) finite vectors.

        Args:
            texts: N distinct ones, none of them empty.
            fit: distinct texts of items of train, sorted: the only ones that anything may be fitted on.

        Raises:
            InputError: the embedder cannot be had, or the texts give it nothing to fit.
        """
