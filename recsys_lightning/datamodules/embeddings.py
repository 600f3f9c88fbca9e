"""The LightningDataModule of what stands on an earlier run: its vectors of users and items, on the same data."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys_lightning.batches import CSR, Views
from recsys_lightning.data.user_domains import UserDomainLoader
from recsys_lightning.data.vectors import FrozenVectors, read_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.schema import TRAIN, VAL, Schema


class EmbeddingDataModule(InteractionsDataModule):
    """Data of another datamodule, with frozen vectors of their users and items.

    Trains on every user once a domain (`UserDomainBatch`); a task that trains on pairs, as Ranking does, gets these.
    Everything else is as in `interactions`, but for its batch size. Vectors that val rows had a part in are neither
    trained on nor selected by, and tested only where `test_views` lets models see these rows.

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
        """Read the prepared data and the vectors.

        Raises:
            InputError: likewise, or the vectors were made of rows that this stage may not see.
        """
        super().setup(stage)
        unseen = [name for name in self.frozen.rows if name not in self.visible_splits]
        if not unseen:
            return
        made = f"{self.file} was made with {' and '.join(unseen)} rows in sight"
        if unseen == [VAL]:
            made += ", as data.test_views: train+val lets `recsys predict`"
        if stage in ("fit", "validate"):
            raise InputError(
                f"{made}: val would measure, and select by, what they know already. Predict the vectors again with "
                "data.test_views train."
            )
        raise InputError(
            f"{made}, and here data.interactions.test_views is {self.test_views}. Predict the vectors again with "
            "data.test_views train, or say test_views: train+val here too."
        )

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
        """Every user once a domain, or pairs for the tasks that train on these."""
        task = getattr(self.trainer, "lightning_module", None)
        if getattr(task, "trains_on", None) == "pairs":
            return super().train_dataloader()
        return self.user_loader(TRAIN, self._rank(), self._world_size())

    def user_loader(
        self, split: str, rank: int = 0, world_size: int = 1, batch_size: int | None = None
    ) -> UserDomainLoader:
        """Every user with rows of a split, once a domain, with one of these rows, made on the training device.

        Negatives are items that the user has neither in train nor in this split.

        Args:
            split: train or val.
            rank: of this process.
            world_size: number of processes that share the users.
            batch_size: samples in a batch; as in training where None.
        """
        views = self.views_of(TRAIN).to(self._device())
        # no row that is to be ranked high is a negative, of val neither
        known = CSR(*(tensor.to(views.device) for tensor in self.prepared.known(TRAIN, split)))
        return UserDomainLoader(
            CSR(*(tensor.to(views.device) for tensor in self.prepared.csr(split))),
            known,
            views.members,
            batch_size=batch_size or self.batch_size,
            negatives=self.negatives,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
