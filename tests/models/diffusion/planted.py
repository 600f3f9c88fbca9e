"""A small world with planted tastes, and its ideal conditions as frozen vectors."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from recsys_lightning.batches import Vectors
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.synthetic import SyntheticDomains
from recsys_lightning.data.vectors import FrozenVectors
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.tasks.diffusion import Diffusion

WORLD: dict[str, Any] = {
    "users": 240,
    "items": {"movie": 60, "book": 50},
    "rows": 8.0,
    "factors": 2,
    "noise": 0.3,
    "popularity": 0.0,
}
SMALL = partial(DiffusionRecommender, width=48, depth=2)


@cache
def _inner(overlap: float, popularity: float) -> tuple[InteractionsDataModule, Vectors]:
    source = SyntheticDomains(Path(), **{**WORLD, "overlap": overlap, "popularity": popularity})
    inner = InteractionsDataModule(source, Recipe(split="leave_last_out", val=1, test=1))
    return inner, source.planted().aligned(inner.prepared).vectors()


def data(
    overlap: float = 1.0, popularity: float = 0.0, vectors: Vectors | None = None, **options: Any
) -> EmbeddingDataModule:
    """The world, with ideal conditions unless other vectors are given."""
    inner, ideal = _inner(overlap, popularity)
    made = EmbeddingDataModule(inner, Path("unread"), **{"batch_size": 128, **options})
    chosen = vectors or ideal
    made.__dict__["frozen"] = FrozenVectors(chosen, str(hash(float(chosen.user.sum()))), "oracle")
    return made


def diffusion(**options: Any) -> Diffusion:
    """A task that learns that world in seconds."""
    return Diffusion(partial(SMALL, **options), partial(torch.optim.Adam, lr=3e-3), k=[10])
