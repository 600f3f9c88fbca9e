"""The ranking task: train any recommender on pairs, rank the whole catalogue for every user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from recsys_lightning.batches import PairBatch, RankingBatch, Views
from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.negatives import NegativeSampler, Uniform
from recsys_lightning.errors import InputError
from recsys_lightning.losses import BPR, Contrastive, Loss
from recsys_lightning.metrics.evaluator import ACCURACY, PerUser, RankingMetrics
from recsys_lightning.metrics.ranking import mask, top_k
from recsys_lightning.models.base import Recommender, State
from recsys_lightning.models.memory import require
from recsys_lightning.schema import VAL, Schema
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.mining import hardest
from recsys_lightning.tasks.optimizers import clip_gradients, make_optimizer, sparse_tables

FIGURES = (*ACCURACY, "coverage", "gini", "novelty", "diversity", "popularity_lift")
"""What is measured at each cut-off."""


class TopItems(NamedTuple):
    """Recommendations of a batch of users, best first; item -1 where a user has no more candidates."""

    user: Tensor  # (B,)
    item: Tensor  # (B, K)
    score: Tensor  # (B, K)


class Ranking(Task):
    """Trains a recommender on (user, positive, negatives) and evaluates it by full ranking.

    Every metric is logged as `val/ndcg_10` or `test/ndcg_10`: per user over all items not seen before the split,
    then the mean over users (see `recsys_lightning.metrics`).

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
        predict_k: recommendations that `predict` makes for each user.
    """

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
        super().__init__()
        if not k or min(k) < 1:
            raise InputError(f"model.k is {list(k)}; it needs cut-offs of at least 1.")
        if predict_k < 1 or sampled < 0:
            raise InputError(f"model.predict_k is {predict_k}, model.sampled {sampled}: at least 1 and 0 are needed.")
        self.save_hyperparameters()
        self.make_recommender = recommender
        self.loss = loss or BPR()
        self.contrastive = contrastive
        self.negatives = negatives or Uniform()
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.weight_decay = weight_decay
        self.k = tuple(k)
        self.sampled = sampled
        self.predict_k = predict_k
        self.recommender: Recommender
        self.metrics: RankingMetrics
        self.results: dict[str, float] = {}
        self.per_user: PerUser | None = None
        self._views: Views | None = None
        self._fitting_views: Views | None = None
        self._state: State = None

    def build(self, schema: Schema) -> None:
        """Make the recommender."""
        self.recommender = self.make_recommender(schema)

    @property
    def needs_training(self) -> bool:
        """False for closed forms."""
        return not self.recommender.closed_form

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler where there is one."""
        try:
            optimizer = make_optimizer(self, self.make_optimizer)
            if self.make_lr_scheduler is None:
                return optimizer
            scheduler = self.make_lr_scheduler(optimizer)
        except ValueError as error:
            raise InputError(f"The optimizer or its scheduler refuses its options: {error}.") from error
        if isinstance(scheduler, ReduceLROnPlateau):
            self.refuse_unsound_monitor(scheduler.monitor)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": scheduler.monitor}}
        return [optimizer], [scheduler]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning clips, and also where gradients are sparse, which it cannot."""
        if not gradient_clip_val or not sparse_tables(self):
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        clip_gradients(parameters, gradient_clip_val, gradient_clip_algorithm != "value")

    # Training

    def setup(self, stage: str) -> None:
        """Build the recommender; refuse to fit what cannot be trained, or to select by what must not select."""
        super().setup(stage)
        if stage != "fit":
            return
        if not self.needs_training:
            name = type(self.recommender).__name__
            raise InputError(f"{name} is solved in closed form: there is nothing to fit. Use `recsys test` directly.")
        if self.contrastive is not None and not self.recommender.has_two_views:
            name = type(self.recommender).__name__
            raise InputError(f"{name}, as it is configured, has one view of users only. Leave model.contrastive out.")
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            self.refuse_unsound_monitor(getattr(callback, "monitor", None))

    def on_fit_start(self) -> None:
        """Take the train views; refuse a training whose memory is known not to be there."""
        self._take_views()
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
        return loss

    # Evaluation

    def on_validation_start(self) -> None:
        """Take the views; closed forms are solved."""
        super().on_validation_start()
        if self._views is None or self.trainer.state.fn != "fit":
            self._take_views()
        self._start_ranking()

    def on_test_start(self) -> None:
        """Take the views; closed forms are solved."""
        super().on_test_start()
        self._take_views()
        self._start_ranking()

    def on_predict_start(self) -> None:
        """Take the views; closed forms are solved."""
        super().on_predict_start()
        self._take_views()
        self._state = self.recommender.encode(self.views)

    def validation_step(self, batch: RankingBatch, batch_idx: int) -> None:
        """Rank for a batch of users."""
        self.metrics.update(batch, self.scores(batch))

    def test_step(self, batch: RankingBatch, batch_idx: int) -> None:
        """Rank for a batch of users."""
        self.metrics.update(batch, self.scores(batch))

    def predict_step(self, batch: RankingBatch, batch_idx: int) -> TopItems:
        """The best unseen items of a batch of users."""
        scores = self.scores(batch)
        mask(scores, batch.seen)
        ranked = top_k(scores, self.predict_k, self.metrics.priority)
        return TopItems(batch.user, ranked.item, ranked.score)

    def on_validation_epoch_end(self) -> None:
        """Log the means over users."""
        self._finish_ranking("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over users, and keep each user's values."""
        self._finish_ranking("test")

    @property
    def views(self) -> Views:
        """The resident tensors of the current stage, on this device."""
        assert self._views is not None
        return self._views

    @property
    def fitting_views(self) -> Views:
        """Likewise, without the given rows of held-out users."""
        assert self._fitting_views is not None
        return self._fitting_views

    def scores(self, batch: RankingBatch) -> Tensor:
        """Scores of a batch of users for the whole catalogue, (B, I)."""
        u = self.recommender.users(self._state, batch.user)
        return self.recommender.score_all(u, self._state)

    def refuse_unsound_monitor(self, key: str | None) -> None:
        """Refuse to select by what must not select, or will not be measured; without data, the task cannot tell.

        Raises:
            InputError: that metric must not select.
        """
        if key is None:
            return
        if "_sampled_" in key:
            raise InputError(
                f"{key} ranks against sampled candidates, which can reverse the order of models: it must not select "
                f"one. Monitor {key.split('_sampled_')[0]}."
            )
        if key.startswith("test/"):
            raise InputError(f"{key} would select on the test rows. Monitor {key.replace('test/', 'val/')}.")
        if key.startswith("val/") and not self.datamodule.holds(VAL):
            raise InputError(
                f"{key} is monitored, and there are no val rows. Hold some out (data.recipe.val 0.1), or choose what "
                "to monitor: --checkpoint.monitor train/loss_epoch --checkpoint.mode min, likewise early_stopping."
            )
        figure, _, cut = key.removeprefix("val/").rpartition("_")
        if key.startswith("val/") and not (figure in FIGURES and cut in map(str, self.k)):
            raise InputError(
                f"{key} is monitored, and there will be no such figure. With model.k {list(self.k)} there are "
                f"{', '.join(f'val/{name}_{k}' for k in self.k for name in FIGURES[:4])} and others."
            )

    def _take_views(self) -> None:
        data = self.datamodule
        self._fitting_views = data.fitting_views.to(self.device)
        self._views = self._fitting_views if data.views is data.fitting_views else data.views.to(self.device)
        if self.recommender.closed_form:
            self.recommender.fit(self._fitting_views)
        self.metrics = RankingMetrics(
            self.k,
            num_items=self._views.num_items,
            popularity=self._fitting_views.popularity,
            num_users=self._views.num_users,
            genres=self._views.genres,
            sampled=self.sampled,
        ).to(self.device)

    def _start_ranking(self) -> None:
        self.metrics.reset()
        self._state = self.recommender.encode(self.views)

    def _finish_ranking(self, split: str) -> None:
        values = self.metrics.compute()
        self._state = None
        self.results = {f"{split}/{name}": float(value) for name, value in values.items()}
        self.per_user = self.metrics.per_user()
        # equal on every process, as the metric state is gathered: a mean over them would only round
        self.log_dict(self.results, rank_zero_only=False, sync_dist=False)
