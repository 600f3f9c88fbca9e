"""A world of two domains whose users and items are given as vectors that hold all that was planted, rotated and noisy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from recsys_lightning.batches import Vectors
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.synthetic import SyntheticDomains as World
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.datasets import SyntheticDomains
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.metrics.bootstrap import Interval, paired_interval
from recsys_lightning.metrics.ranking import mask
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.tasks.conditioning import Conditioning
from tests.tasks.test_base import trainer

DOMAINS = ("movie", "book")
WIDTH = 32
USER_NOISE, ITEM_NOISE = 0.2, 0.4
"""Of the standard deviation of a planted number of users and of items."""


class Planted(NamedTuple):
    """Data with the vectors, and what these were made of."""

    data: EmbeddingDataModule
    taste: list[Tensor]  # of each domain, (U, 2 k): the shared tastes and its own
    foreign: list[Tensor]  # of each domain, (U, k): the tastes in the other one


def world(folder: Path, seed: int = 0, users: int = 2000, items: int = 400, batch_size: int = 1024) -> Planted:
    """Rows are drawn from the softmax of what was planted; an item has zeros for the tastes in the other domain.

    Vectors are a random rotation of the planted numbers to 32 dimensions, plus noise in all of them. So the dot product
    of a user with a film hears noise by what the user likes of books: who leaves that out ranks better.
    """
    sizes = {"users": users, "items": dict.fromkeys(DOMAINS, items), "seed": seed, "popularity": 0.5}
    inner = SyntheticDomains(**sizes, recipe=Recipe(split="leave_last_out", val=0, test=1))
    planted = World(Path(), **sizes).planted().aligned(inner.prepared)
    vectors = planted.vectors()
    k = planted.factors
    user, item = vectors.user.amax(1) + vectors.user.amin(1), vectors.item
    user[:, :k], user[:, -1] = vectors.user[:, 0, :k], 1
    random = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=random))[0][: user.shape[1]]
    scale = user[:, :k].std()
    user, item = user @ turn, item @ turn
    user = user + USER_NOISE * scale * torch.randn(user.shape, generator=random)
    item = item + ITEM_NOISE * torch.randn(item.shape, generator=random)
    file = folder / f"planted-{seed}.safetensors"
    write_vectors(file, Vectors(user, item), inner.prepared, "Planted")
    data = EmbeddingDataModule(inner, file, batch_size=batch_size, negatives=32)
    taste = [torch.from_numpy(planted.taste(name)) for name in DOMAINS]
    return Planted(data, taste, [torch.from_numpy(planted.own[name]) for name in reversed(DOMAINS)])


def train(folder: Path, data: EmbeddingDataModule, epochs: int = 40, **options: Any) -> Conditioning:
    """The task after a short training with the default losses."""
    seed_everything(0, verbose=False)
    scheduler = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs)
    task = Conditioning(
        partial(Conditioned, **options), optimizer=partial(torch.optim.Adam, lr=5e-3), lr_scheduler=scheduler
    )
    trainer(folder, max_epochs=epochs, limit_val_batches=0, enable_checkpointing=False).fit(task, data)
    task.eval()
    return task


def ndcg(data: EmbeddingDataModule, vector: Tensor, domain: int) -> Tensor:
    """(n,) ndcg@10 of the users with a test row in the domain, whose items are ranked by a vector (U, D) of each."""
    views, held = data.views, data.prepared.csr("test")
    user, item = held.row, held.col
    assert views.domain is not None
    user, item = user[views.domain[item] == domain], item[views.domain[item] == domain]
    scores = vector @ views.vectors.item.T
    scores[:, views.domain != domain] = -torch.inf
    known = data.prepared.known("train")
    mask(scores, torch.stack([known.row, known.col]))
    rank = (scores[user] > scores[user, item][:, None]).sum(1)
    return torch.where(rank < 10, 1 / (rank + 2.0).log2(), 0.0)


def gain(data: EmbeddingDataModule, ours: Tensor, base: Tensor, domain: int) -> Interval:
    """By how much one vector of each user ranks a domain better than another, with its interval."""
    return paired_interval(ndcg(data, ours, domain), ndcg(data, base, domain))
