"""The LightningDataModule of what stands on an earlier run: its vectors of users and items, on the same data."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from recsys_lightning.batches import CSR, Views
from recsys_lightning.data.negatives import NegativeSampler
from recsys_lightning.data.user_domains import UserDomainLoader
from recsys_lightning.data.vectors import FrozenVectors, read_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.schema import TRAIN, Schema


class EmbeddingDataModule(InteractionsDataModule):
    """Data of another datamodule, with frozen vectors of their users and items.

    Trains on every user once a domain (`UserDomainBatch`); a task that compares positives with negatives of its own
    choice, as Ranking does, gets pairs. Everything else is as in `interactions`, but for its batch size.

    Args:
        interactions: the data that the vectors were made of.
        vectors: the file, as the callback WriteVectors leaves it.
        batch_size: samples in a training batch, on each device.
        negatives: random items of the same domain for each sample, out of those that the user does not have.
        eval_batch_size: users ranked at a time; that of `interactions` by default.
    """

    def __init__(
        self,
        interactions: InteractionsDataModule,
        vectors: Path,
        batch_size: int = 2048,
        negatives: int = 16,
        eval_batch_size: int | None = None,
    ) -> None:
        inner = interactions
        if isinstance(inner, EmbeddingDataModule):
            raise InputError("data.interactions is an EmbeddingDataModule itself; name the data that it stands on.")
        if negatives < 1:
            raise InputError(f"data.negatives is {negatives}; it must be at least 1.")
        super().__init__(
            inner.source,
            inner.recipe,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size or inner.eval_batch_size,
            history_length=inner.history_length,
            test_views=inner.test_views,
            graph=inner.graph,
            text=inner.text,
            features=inner.features,
        )
        self.file = vectors
        self.negatives = negatives

    @cached_property
    def frozen(self) -> FrozenVectors:
        """The vectors.

        Raises:
            InputError: the file cannot be read, or is of other data.
        """
        return read_vectors(self.file, self.prepared)

    def setup(self, stage: str) -> None:
        """Read the prepared data and the vectors."""
        super().setup(stage)
        self.frozen  # noqa: B018  # to be refused before anything is built

    @property
    def schema(self) -> Schema:
        """Sizes and names of the prepared data, with those of the vectors."""
        return replace(super().schema, vector_width=self.frozen.width, vectors=self.frozen.digest)

    def views_of(self, *splits: str) -> Views:
        """The resident tensors made of the rows of these splits, and the vectors."""
        if splits not in self._views:
            self._views[splits] = self.prepared.views(
                *splits,
                history_length=self.history_length,
                graph=self.typed_graph,
                text=self.item_text,
                features=self.item_features,
                vectors=self.frozen,
            )
        return self._views[splits]

    def train_dataloader(self) -> Any:
        """Every user once a domain, or pairs for the tasks that bring negatives along."""
        task = None if self.trainer is None else self.trainer.lightning_module
        if isinstance(getattr(task, "negatives", None), NegativeSampler):
            return super().train_dataloader()
        return self.user_loader(TRAIN, self._rank(), self._world_size())

    def user_loader(self, split: str, rank: int = 0, world_size: int = 1) -> UserDomainLoader:
        """Every user with rows of a split, once a domain, with one of these rows, made on the training device.

        Args:
            split: train or val.
            rank: of this process.
            world_size: number of processes that share the users.
        """
        views = self.views_of(TRAIN).to(self._device())
        known = CSR(*(tensor.to(views.device) for tensor in self.prepared.known(TRAIN)))
        members = [torch.arange(views.num_items, device=views.device)]
        if views.domain is not None:
            members = [(views.domain == code).nonzero()[:, 0] for code in range(len(self.schema.domains))]
        return UserDomainLoader(
            CSR(*(tensor.to(views.device) for tensor in self.prepared.csr(split))),
            known,
            members,
            batch_size=self.batch_size,
            negatives=self.negatives,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
