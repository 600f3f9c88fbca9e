"""A world of two domains, given as vectors of users and items that hold all that was planted, rotated and noisy."""

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
USER_NOISE, ITEM_NOISE = 0.2, 0.5
"""Of the standard deviation of a planted number of users and of items."""


class Planted(NamedTuple):
    """Data with the vectors, and what these were made of."""

    data: EmbeddingDataModule
    taste: list[Tensor]  # of each domain, (U, 2 k): the shared tastes and its own
    foreign: list[Tensor]  # of each domain, (U, k): the tastes in the other one


def world(
    folder: Path, seed: int = 0, users: int = 2000, items: int = 400, batch_size: int = 1024, val: int = 0
) -> Planted:
    """Rows are drawn from the softmax of what was planted; an item has zeros for the tastes in the other domain.

    Vectors are a random rotation to 32 dimensions: of users with noise in all of these, of items with noise in all that
    was planted. So the dot product of a user with a film hears noise by what the user likes of books: who leaves that
    out ranks better.
    """
    sizes = {"users": users, "items": dict.fromkeys(DOMAINS, items), "seed": seed, "popularity": 0.5}
    inner = SyntheticDomains(**sizes, recipe=Recipe(split="leave_last_out", val=val, test=4))
    planted = World(Path(), **sizes).planted().aligned(inner.prepared)
    vectors = planted.vectors()
    k = planted.factors
    # a taste in one domain is 0 in the vector of the other
    user, item = vectors.user.amax(1) + vectors.user.amin(1), vectors.item
    user[:, :k], user[:, -1] = vectors.user[:, 0, :k], 1
    random = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=random))[0][: user.shape[1]]
    scale = user[:, :k].std()
    user = user @ turn + USER_NOISE * scale * torch.randn(users, WIDTH, generator=random)
    item = (item + ITEM_NOISE * torch.randn(item.shape, generator=random)) @ turn
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
    """(n,) of the users with test rows in the domain: ndcg@10 of its items by a vector (U, D) of each, a row at a time.

    Other test rows of a user are not ranked: the mean over the rows, each among items that the user never took.
    """
    views, held, taken = data.views, data.prepared.csr("test"), data.prepared.known("train", "test")
    assert views.domain is not None
    here = views.domain[held.col] == domain
    user, item = held.row[here], held.col[here]
    scores = (vector @ views.vectors.item.T).masked_fill(views.domain != domain, -torch.inf)
    own = scores[user, item]
    mask(scores, torch.stack([taken.row, taken.col]))
    rank = (scores[user] > own[:, None]).sum(1)
    values = torch.where(rank < 10, 1 / (rank + 2.0).log2(), 0.0)
    count = torch.bincount(user, minlength=len(scores))
    return (torch.zeros(len(scores)).index_add(0, user, values) / count)[count > 0]


def gain(data: EmbeddingDataModule, ours: Tensor, base: Tensor, domain: int) -> Interval:
    """By how much one vector of each user ranks a domain better than another, with its interval."""
    return paired_interval(ndcg(data, ours, domain), ndcg(data, base, domain), draws=500)
