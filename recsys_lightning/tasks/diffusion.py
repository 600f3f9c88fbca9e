"""The diffusion task: train a denoiser on users in domains, rank by what it generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from recsys_lightning.batches import RankingBatch, UserDomainBatch
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.evaluation import RankingTask
from recsys_lightning.tasks.precision import refuse_float16


class Diffusion(RankingTask):
    """Trains a recommender to tell the vector of a user's next item from noise, and evaluates it by full ranking.

    It takes batches of users in domains (`EmbeddingDataModule`). Rows of users who have no item in the domain teach
    nothing and are left out of the loss.

    Args:
        recommender: what is trained.
        optimizer: any torch optimizer.
        lr_scheduler: any torch scheduler, stepped once an epoch.
        k: cut-offs of the metrics.
        sampled: besides full ranking, rank the relevant items among so many random candidates; its metrics carry
            `sampled` in their names. 0 for not at all.
        predict_k: recommendations that `predict` makes for each user, in each domain.
    """

    recommender: DiffusionRecommender

    def __init__(
        self,
        recommender: Callable[[Schema], DiffusionRecommender] = DiffusionRecommender,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        k: Sequence[int] = (10, 20),
        sampled: int = 0,
        predict_k: int = 10,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, k, sampled, predict_k)
        self.save_hyperparameters()
        self.make_recommender = recommender

    def build(self, schema: Schema) -> None:
        """Make the recommender."""
        self.recommender = self.make_recommender(schema)

    def on_fit_start(self) -> None:
        """Take the train views, and measure on them what vectors are standardised by.

        Raises:
            InputError: the precision is 16-true.
        """
        refuse_float16(self)
        super().on_fit_start()
        self.recommender.standardise(self.fitting_views)

    def training_step(self, batch: UserDomainBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.recommender.denoising_loss(self.fitting_views, batch)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch.user))
        return loss

    def scores(self, batch: RankingBatch) -> Tensor:
        """Scores of a batch of users for the whole catalogue, (B, I); 0 for domains that are not ranked."""
        if batch.domain is None:
            return super().scores(batch)
        u = self.recommender.users_in(self._state, batch.user, batch.domain)
        return self.recommender.score_all(u, self._state)
