"""What every task shares whose end is a ranking: full ranking for every user, its metrics, its lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor
from torch.optim import Optimizer

from recsys_lightning.batches import RankingBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.domains import WORST, DomainMetrics, metrics_of
from recsys_lightning.metrics.evaluator import ACCURACY, PerUser, RankingMetrics
from recsys_lightning.metrics.ranking import mask, tie_priority, top_k
from recsys_lightning.models.base import Recommender, State
from recsys_lightning.schema import VAL
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.optimizers import clip_gradients, make_optimizer, sparse_tables

FIGURES = (*ACCURACY, "coverage", "gini", "novelty", "diversity", "popularity_lift")
"""What is measured at each cut-off."""


class TopItems(NamedTuple):
    """Recommendations of a batch of users, best first; item -1 where a user has no more candidates."""

    user: Tensor  # (B,)
    item: Tensor  # (B, K)
    score: Tensor  # (B, K)


class RankingTask(Task):
    """Evaluates a recommender by full ranking; how it is trained is each subclass's own.

    Every metric is logged as `val/ndcg_10` or `test/ndcg_10`: per user over all items not seen before the split,
    then the mean over users (see `recsys_lightning.metrics`). Where the data have several domains, the items of each
    are ranked by themselves: `val/ndcg_10_book` is of one domain, `val/ndcg_10` the mean over the domains, and
    `val/ndcg_10_worst` the least of them; see `DomainMetrics`.

    Args:
        optimizer: any torch optimizer.
        lr_scheduler: any torch scheduler, stepped once an epoch.
        k: cut-offs of the metrics.
        sampled: besides full ranking, rank the relevant items among so many random candidates; its metrics carry
            `sampled` in their names. 0 for not at all.
        predict_k: recommendations that `predict` makes for each user, in each domain.

    Raises:
        InputError: an argument is out of its range.
    """

    trains_on: ClassVar[Literal["pairs", "user_domains"]] = "user_domains"
    """What the datamodule is to make training batches of: `PairBatch` or `UserDomainBatch`."""

    recommender: Recommender
    metrics: RankingMetrics | DomainMetrics

    def __init__(
        self,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        k: Sequence[int],
        sampled: int,
        predict_k: int,
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        if not k or min(k) < 1:
            raise InputError(f"model.k is {list(k)}; it needs cut-offs of at least 1.")
        if predict_k < 1 or sampled < 0:
            raise InputError(f"model.predict_k is {predict_k}, model.sampled {sampled}: at least 1 and 0 are needed.")
        self.k = tuple(k)
        self.sampled = sampled
        self.predict_k = predict_k
        self.results: dict[str, float] = {}
        self.per_user: PerUser | None = None
        self._views: Views | None = None
        self._fitting_views: Views | None = None
        self._state: State = None

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

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Step the scheduler by the mean over processes of what it watches, or each would have its own rate."""
        if metric is not None:
            metric = self.trainer.strategy.reduce(metric, reduce_op="mean")
        super().lr_scheduler_step(scheduler, metric)

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

    def setup(self, stage: str) -> None:
        """Build the recommender; refuse to fit what cannot be trained, or to select by what must not select."""
        super().setup(stage)
        if stage != "fit":
            return
        if not self.needs_training:
            name = type(self.recommender).__name__
            raise InputError(f"{name} is solved in closed form: there is nothing to fit. Use `recsys test` directly.")
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            self.refuse_unsound_monitor(getattr(callback, "monitor", None))

    def on_fit_start(self) -> None:
        """Take the train views."""
        self._take_views()

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
        self._priority = tie_priority(self.views.num_items).to(self.device)
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
        if batch.domain is not None:
            assert self.views.domain is not None
            scores[:, self.views.domain != batch.domain] = -torch.inf
        ranked = top_k(scores, self.predict_k, self._priority)
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
        figures = [f"val/{name}_{k}" for k in self.k for name in FIGURES]
        of_domains = [f"{figure}_{name}" for figure in figures for name in self.domains]
        worst = [f"val/{name}_{k}_{WORST}" for k in self.k for name in ACCURACY if self.domains]
        if key.startswith("val/") and key not in (*figures, *of_domains, *worst, *self.other_figures):
            some = f"val/ndcg_{self.k[0]}"
            of_each = f", and of each domain: {', '.join(f'{some}_{name}' for name in (*self.domains, WORST))}"
            raise InputError(
                f"{key} is monitored, and there will be no such figure. With model.k {list(self.k)} there are "
                f"{', '.join(f'val/{name}_{k}' for k in self.k for name in FIGURES[:4])} and others"
                f"{of_each if self.domains else ''}."
            )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains of items; empty where there is one."""
        return () if self.schema is None else self.schema.domains

    @property
    def other_figures(self) -> tuple[str, ...]:
        """Names of what a subclass measures on val beside rankings."""
        return ()

    def _take_views(self) -> None:
        data = self.datamodule
        self._fitting_views = data.fitting_views.to(self.device)
        self._views = self._fitting_views if data.views is data.fitting_views else data.views.to(self.device)
        if self.recommender.closed_form:
            self.recommender.fit(self._fitting_views)
        self.metrics = metrics_of(
            self.k, self._views, self.domains, self._fitting_views.popularity, sampled=self.sampled
        )

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
