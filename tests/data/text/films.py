"""Prepared films with overviews and reviews, and embedders that can be counted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.text.embedder import TextEmbedder
from tests.data.memory import Memory, random_interactions

NAMES = [f"i{number:03}" for number in range(30)]
WORDS = ("robots ships stars", "love letters winter", "murder knives detective")


def table() -> pd.DataFrame:
    """Thirty films: every tenth has no overview, every third has reviews."""
    return pd.DataFrame(
        {
            "title": [f"Film {number}" for number in range(30)],
            "overview": [f"{WORDS[number % 3]} word{number} tale" if number % 10 else "" for number in range(30)],
            "genres": [[f"g{number % 4}", "drama"] for number in range(30)],
            "reviews": [
                [f"{WORDS[number % 3]} review{part}" for part in range(number % 7)] if number % 3 == 0 else []
                for number in range(30)
            ],
            "year": [1980.0 + number for number in range(30)],
        },
        index=NAMES,
    )


def films(items: pd.DataFrame | None = None, recipe: Recipe = Recipe(split="random")) -> Prepared:
    return prepare(Memory(random_interactions(), table() if items is None else items), recipe)


class Counting(TextEmbedder):
    """Vectors out of the letters of a text; remembers what it was asked for."""

    fits: ClassVar[bool] = False

    def __init__(self, key: str = "counting") -> None:
        self.name = key
        self.asked: list[list[str]] = []

    @property
    def key(self) -> str:
        return self.name

    def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(list(texts))
        return letters(texts)


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """(N, 4) how often letters occur, and the length."""
    return np.array([[text.count("a"), text.count("e"), text.count("r"), len(text)] for text in texts], np.float32)


class Fitted(Counting):
    """Whose vectors depend on the texts of train."""

    fits: ClassVar[bool] = True

    def embed(self, texts: Sequence[str], fit: Sequence[str]) -> NDArray[np.float32]:
        return super().embed(texts, fit) + len(fit)
