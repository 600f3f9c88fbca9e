"""The conditioning task: train conditions of users in domains on frozen vectors, rank each domain's items by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from recsys_lightning.batches import UserDomainBatch
from recsys_lightning.data.user_domains import UserDomainLoader
from recsys_lightning.errors import InputError
from recsys_lightning.losses.conditions import (
    ConditionLoss,
    Conditions,
    Cosine,
    CrossCovariance,
    Diversity,
    DomainRanking,
    Reconstruction,
    refuse_contradictions,
)
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.models.domains import domain_of
from recsys_lightning.schema import VAL, Schema
from recsys_lightning.tasks.evaluation import RankingTask
from recsys_lightning.tasks.precision import refuse_float16

VAL_SAMPLES = 8192
"""The losses of val are of at most so many: negatives of one take 4 KiB with the defaults and a width of 64."""


def default_losses() -> list[ConditionLoss]:
    """What conditions are trained by where nothing else is said: all losses but the contrastive one."""
    return [DomainRanking(), CrossCovariance(), Reconstruction(), Cosine(), Diversity()]


class Conditioning(RankingTask):
    """Trains conditions of users in domains by a weighted sum of losses, and evaluates them by full ranking.

    It takes batches of users in domains (`EmbeddingDataModule`). Each loss is logged without its weight, as
    `train/domain_ranking` and so on, `train/loss` being the weighted sum. `val/loss` is the same with val rows in place
    of train rows, of all samples at once or, where they are more, of 8,192 random ones, the same at each validation: it
    depends on no batch size. It is what should select: conditions start as the users themselves, whose ranking they may
    not improve on, so by `val/ndcg_10` the first epochs could win.

    Args:
        recommender: what is trained.
        losses: with their weights; all but DomainContrastive by default.
        optimizer: any torch optimizer.
        lr_scheduler: any torch scheduler, stepped once an epoch.
        k: cut-offs of the metrics.
        sampled: besides full ranking, rank the relevant items among so many random candidates; its metrics carry
            `sampled` in their names. 0 for not at all.
        predict_k: recommendations that `predict` makes for each user, in each domain.

    Raises:
        InputError: there are no losses, one comes twice, or targets of two contradict.
    """

    recommender: Conditioned

    def __init__(
        self,
        recommender: Callable[[Schema], Conditioned] = Conditioned,
        losses: list[ConditionLoss] | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        k: Sequence[int] = (10, 20),
        sampled: int = 0,
        predict_k: int = 10,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, k, sampled, predict_k)
        self.save_hyperparameters()
        self.make_recommender = recommender
        chosen = default_losses() if losses is None else losses
        if not chosen:
            raise InputError("model.losses is empty: there is nothing to train by. Name one, such as DomainRanking.")
        refuse_contradictions(chosen)
        self.losses = torch.nn.ModuleList(chosen)
        self._val_samples: UserDomainBatch | None = None

    def build(self, schema: Schema) -> None:
        """Make the recommender."""
        self.recommender = self.make_recommender(schema)

    def on_fit_start(self) -> None:
        """Take the train views; the losses see the frozen vectors, whose size is measured.

        Raises:
            InputError: the precision is 16-true.
        """
        refuse_float16(self)
        super().on_fit_start()
        self.recommender.standardise(self.fitting_views)
        self._prepare()

    def on_validation_start(self) -> None:
        """Take the views; where nothing is trained, the losses see the frozen vectors now."""
        super().on_validation_start()
        if self.trainer.state.fn != "fit":
            self._prepare()

    def on_validation_epoch_end(self) -> None:
        """Log the means over users, and the losses of the val rows."""
        super().on_validation_epoch_end()
        if self._val_samples is None:
            self._val_samples = self._draw_val_samples()
        if self._val_samples is None:
            return
        figures = {f"val/{name}": float(term) for name, term in self._terms(self._val_samples).items()}
        figures["val/loss"] = sum(loss.weight * figures[f"val/{loss.name}"] for loss in self._losses)
        self.results |= figures
        # every process goes over all users: equal everywhere
        self.log_dict(figures, sync_dist=False)

    @property
    def other_figures(self) -> tuple[str, ...]:
        """What val is measured by beside rankings."""
        return ("val/loss", *(f"val/{loss.name}" for loss in self._losses))

    def training_step(self, batch: UserDomainBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        terms = self._terms(batch)
        total = torch.stack([loss.weight * terms[loss.name] for loss in self._losses]).sum()
        figures = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(batch.user))
        self.log("train/loss", total.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=len(batch.user))
        return total

    def _terms(self, batch: UserDomainBatch) -> dict[str, Tensor]:
        """Each loss of a batch, without its weight."""
        user, item = self.fitting_views.vectors
        every = self.recommender.conditions_of(self.fitting_views, batch.user, batch.item)
        conditions = Conditions(
            user=user[batch.user],
            condition=every.take_along_dim(batch.domain[:, None, None], 1)[:, 0],
            every=every,
            domain=batch.domain,
            item=batch.item,
            positive=item[batch.item],
            known=batch.known,
            negative=item[batch.negative],
            who=batch.user,
        )
        return {loss.name: loss(conditions) for loss in self._losses}

    def _draw_val_samples(self) -> UserDomainBatch | None:
        """Up to `VAL_SAMPLES` of them, at least half as many where there are more; the same on every process."""
        make: Callable[..., UserDomainLoader] | None = getattr(self.datamodule, "user_loader", None)
        if make is None or not self.datamodule.holds(VAL):
            return None
        return next(iter(make(VAL, batch_size=VAL_SAMPLES)), None)

    def _prepare(self) -> None:
        """Hand the losses what has train rows; another fit or validation draws val samples anew."""
        views = self.fitting_views
        users, items = views.train.degree > 0, views.popularity > 0
        for loss in self._losses:
            loss.prepare(views.vectors.user[users], views.vectors.item[items], domain_of(views)[items])
        self._val_samples = None

    @property
    def _losses(self) -> list[ConditionLoss]:
        return [loss for loss in self.losses if isinstance(loss, ConditionLoss)]
