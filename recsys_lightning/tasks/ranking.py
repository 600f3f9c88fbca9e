"""The ranking task: train any recommender on pairs, rank the whole catalogue for every user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.negatives import NegativeSampler, Uniform
from recsys_lightning.errors import InputError
from recsys_lightning.losses.ranking import BPR, Contrastive, Loss
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.memory import require
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.evaluation import RankingTask
from recsys_lightning.tasks.mining import hardest


class Ranking(RankingTask):
    """Trains a recommender on (user, positive, negatives) and evaluates it by full ranking.

    Where the data have several domains, each batch is of one, and `train/loss_book` is the mean of those of books.

    Args:
        recommender: the network to train, or the closed form to solve.
        loss: compares positives with negatives.
        negatives: what each positive is compared with; one uniform negative by default.
        optimizer: any torch optimizer.
        lr_scheduler: any torch scheduler, stepped once an epoch.
        contrastive: brings the two views of a user together, for recommenders that have two; added to the loss.
        weight_decay: of the embeddings that a batch touches, as the papers mean it; unlike the optimizer's, which
            shrinks every row at every step.
        k: cut-offs of the metrics.
        sampled: besides full ranking, rank the relevant items among so many random candidates; its metrics carry
            `sampled` in their names. 0 for not at all.
        predict_k: recommendations that `predict` makes for each user, in each domain.
    """

    trains_on = "pairs"

    def __init__(
        self,
        recommender: Callable[[Schema], Recommender],
        loss: Loss | None = None,
        negatives: NegativeSampler | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        contrastive: Contrastive | None = None,
        weight_decay: float = 0.0,
        k: Sequence[int] = (10, 20),
        sampled: int = 0,
        predict_k: int = 10,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, k, sampled, predict_k)
        self.save_hyperparameters()
        self.make_recommender = recommender
        self.loss = loss or BPR()
        self.contrastive = contrastive
        self.negatives = negatives or Uniform()
        self.weight_decay = weight_decay

    def build(self, schema: Schema) -> None:
        """Make the recommender."""
        self.recommender = self.make_recommender(schema)

    def setup(self, stage: str) -> None:
        """Build the recommender; refuse what its training cannot do."""
        super().setup(stage)
        if stage != "fit":
            return
        if self.contrastive is not None and not self.recommender.has_two_views:
            name = type(self.recommender).__name__
            raise InputError(f"{name}, as it is configured, has one view of users only. Leave model.contrastive out.")

    def on_fit_start(self) -> None:
        """Take the train views; refuse a training whose memory is known not to be there."""
        super().on_fit_start()
        needed = self.recommender.estimate_memory(self.fitting_views, self.datamodule.batch_size)
        if needed is not None:
            name = type(self.recommender).__name__
            sizes = ", ".join(f"{part} {size / 1e6:,.0f}" for part, size in needed.items())
            rank_zero_info(f"{name} will take about so many MB of memory to train: {sizes}.")
            advice = "Set model.recommender.fan_out, or take a smaller dim or fewer layers."
            require(needed["total"], self.device, f"Training {name}", advice)

    def on_train_epoch_start(self) -> None:
        """Find the hard negatives anew, where it is time to."""
        sampler = self.negatives
        if isinstance(sampler, HardNegatives) and sampler.is_due(self.current_epoch):
            table = hardest(self.recommender, self.fitting_views, sampler.known, sampler.skip, sampler.pool)
            sampler.refresh(table, self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the hard negatives too, which parameters of an earlier epoch made."""
        super().on_save_checkpoint(checkpoint)
        if isinstance(self.negatives, HardNegatives):
            checkpoint["hard_negatives"] = self.negatives.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        super().on_load_checkpoint(checkpoint)
        if isinstance(self.negatives, HardNegatives) and "hard_negatives" in checkpoint:
            self.negatives.load_state_dict(checkpoint["hard_negatives"])

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        model = self.recommender
        state = model.encode_for(self.fitting_views, batch)
        u = model.users_without(state, batch.user, batch.item)
        if batch.negative.dim() == 1:
            positive = model.score(u, model.items(state, batch.item))
            same = batch.negative == batch.item[:, None]
            negative = model.cross(u, model.items(state, batch.negative)).masked_fill(same, -torch.inf)
        else:
            compared = model.items(state, torch.cat([batch.item[:, None], batch.negative], 1))
            scores = model.score(u[:, None], compared)
            positive, negative = scores[:, 0], scores[:, 1:]
        loss: Tensor = self.loss(positive, negative, batch)
        if self.contrastive is not None:
            loss = loss + self.contrastive(*model.two_views(u), batch.user)
        if (auxiliary := model.auxiliary(state, batch)) is not None:
            loss = loss + auxiliary
        if self.weight_decay:
            loss = loss + self.weight_decay * model.penalty(state, batch.user, batch.item, batch.negative)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch.user))
        if (domain := self.fitting_views.domain) is not None:
            name = f"train/loss_{self.domains[int(domain[batch.item[0]])]}"
            self.log(name, loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch.user))
        return loss
