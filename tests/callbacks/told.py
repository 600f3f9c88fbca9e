"""A model whose conditions are told, on a world of two domains in which the right ones are known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from recsys_lightning.batches import UserDomainBatch, Vectors, Views
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.synthetic import SyntheticDomains as World
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.datasets import SyntheticDomains
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.domains import by_domain, domain_of
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.evaluation import RankingTask
from tests.tasks.test_base import trainer

K, ITEMS = 3, 40
WIDTH = 3 * K + 1
DOMAINS = ("movie", "book")


def world(folder: Path, users: int = 120, recipe: Recipe | None = None) -> EmbeddingDataModule:
    """Vectors hold the shared tastes, those of movies, those of books, and a one.

    An item's numbers for the tastes of the other domain are noise: who leaves these tastes of a user out ranks better.
    """
    options = {"users": users, "items": dict.fromkeys(DOMAINS, ITEMS), "rows": 8.0, "factors": K, "noise": 0.3}
    inner = SyntheticDomains(**options, recipe=recipe or Recipe(split="leave_last_out", val=1, test=1))
    planted = World(Path(), **options).planted().aligned(inner.prepared)
    vectors = planted.vectors()
    user, item = vectors.user.sum(1), vectors.item.clone()
    user[:, :K], user[:, -1] = vectors.user[:, 0, :K], 1
    noise = 3 * torch.randn(item.shape, generator=torch.Generator().manual_seed(0))
    for code in range(2):
        item[:, block(1 - code)] += (torch.from_numpy(planted.domain) == code)[:, None] * noise[:, block(1 - code)]
    file = folder / "vectors.safetensors"
    write_vectors(file, Vectors(user, item), inner.prepared, "Planted")
    return EmbeddingDataModule(inner, file, batch_size=64, negatives=2)


def block(code: int) -> slice:
    """The tastes in a domain."""
    return slice((1 + code) * K, (2 + code) * K)


class Told(Recommender):
    """condition_d(u) = u * scale_d + shift_d, with a head or two that attend as they are told."""

    def __init__(self, schema: Schema, scale: Tensor, shift: Tensor, weights: Tensor | None = None) -> None:
        super().__init__(schema)
        self.scale, self.shift = nn.Parameter(scale.clone()), nn.Parameter(shift.clone())
        self.weights = weights

    def conditions(self, views: Views) -> Tensor:
        return views.vectors.user[:, None] * self.scale + self.shift

    def vectors(self, views: Views) -> Vectors:
        return Vectors(self.conditions(views), views.vectors.item)

    def encode(self, views: Views) -> Embeddings:
        return by_domain(*self.vectors(views), domain_of(views))

    def attention(self, views: Views, user: Tensor) -> Tensor:
        assert self.weights is not None
        return self.weights[user] if self.weights.dim() == 4 else self.weights.expand(len(user), -1, -1, -1)


class Solved(Told):
    """Likewise, without anything to train."""

    closed_form = True


class Scripted(RankingTask):
    """Trains nothing: the model is what the script says of the epoch, and so is the loss of training."""

    def __init__(
        self, model: partial[Recommender], script: Sequence[Sequence[Tensor]] = (), losses: Sequence[float] = ()
    ):
        super().__init__(torch.optim.SGD, None, [5, 10], 0, 10)
        self.model, self.script, self.train_losses = model, script, losses

    def build(self, schema: Schema) -> None:
        self.recommender = self.model(schema)

    def on_train_epoch_end(self) -> None:
        pass

    def training_step(self, batch: UserDomainBatch, batch_idx: int) -> Tensor:
        epoch = self.current_epoch
        if self.script:
            with torch.no_grad():
                for parameter, value in zip(self.recommender.parameters(), self.script[epoch], strict=True):
                    parameter.copy_(value)
        value = self.train_losses[epoch] if self.train_losses else 1.0
        self.log("train/loss", torch.tensor(value), on_step=False, on_epoch=True)
        return sum((parameter.sum() * 0 for parameter in self.recommender.parameters()), torch.zeros(()))


def masks() -> Tensor:
    """(2, D) what leaves the tastes of the other domain out."""
    mask = torch.ones(2, WIDTH)
    mask[0, block(1)] = mask[1, block(0)] = 0
    return mask


NOTHING = torch.zeros(2, WIDTH)
SAME = torch.ones(2, WIDTH)


def fit(folder: Path, task: RankingTask, callback: Callback, epochs: int, **options: object) -> Trainer:
    """Train on the world for some epochs of a step each."""
    data = world(folder)
    limits = {"max_epochs": epochs, "limit_train_batches": 1, "num_sanity_val_steps": 1}
    made = trainer(folder, **{**limits, "callbacks": [callback], **options})
    made.fit(task, data)
    return made
