"""The LightningDataModule of every ranking task: source, recipe, views, loaders."""

from __future__ import annotations

import copy
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info

from recsys_lightning.batches import CSR, PairBatch, RankingBatch, Views
from recsys_lightning.data.domain_loaders import DomainPairLoader, DomainRankingLoader
from recsys_lightning.data.filters import sizes as sizes_of
from recsys_lightning.data.graph import TypedGraph
from recsys_lightning.data.graph_recipe import PLAIN, GraphRecipe
from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.item_features.fit import ItemFeatures, fit_features
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.loaders import PairLoader, RankingLoader
from recsys_lightning.data.negatives import NegativeSampler, Uniform
from recsys_lightning.data.prepare import Prepared, Recipe, cache_folder, prepare
from recsys_lightning.data.sources.base import Source
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.data.text.make import make_text
from recsys_lightning.data.text.recipe import TextRecipe
from recsys_lightning.errors import InputError
from recsys_lightning.schema import GIVEN, SPLITS, TEST, TRAIN, VAL, Schema

SCORES_PER_BATCH = 1 << 24
"""Evaluation ranks so many (user, item) scores at a time unless told otherwise: 64 MiB of float32."""


class InteractionsDataModule(LightningDataModule):
    """Prepared interactions as resident views and loaders of index batches.

    `schema`, `fitting_views` and `views` are what tasks read after `setup`. In `fit` and `validate` the fitting views
    hold train rows only; the views hold the given rows of held-out users as well.

    Args:
        source: the raw data set.
        recipe: filters and split.
        batch_size: positives in a training batch, on each device.
        eval_batch_size: users ranked at a time; by default as many as make 16 million scores.
        history_length: L, most recent interactions kept in user histories.
        test_views: rows that models see when they are tested or predict. Held-out rows are masked either way. For
            leave_last_out of several domains only `train`: val rows in one may be later than test rows in another.
        graph: nodes, edge weights and features of the typed graph, for the models that use it.
        text: which words about the items become vectors, and how, for the models that use them; None for no vectors.
        features: which columns of the items become features, for the models that use them; None for none.
    """

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        batch_size: int = 2048,
        eval_batch_size: int | None = None,
        history_length: int = 50,
        test_views: Literal["train", "train+val"] = "train",
        graph: GraphRecipe = PLAIN,
        text: TextRecipe | None = None,
        features: FeatureRecipe | None = None,
    ) -> None:
        super().__init__()
        sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "history_length": history_length}
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"data.{name} is {value}; it must be at least 1.")
        self.source = source
        self.recipe = recipe
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.history_length = history_length
        self.test_views = test_views
        self.graph = graph
        self.text = text
        self.features = features
        self._prepared: Prepared | None = None
        self._views: dict[tuple[str, ...], Views] = {}
        self._stage = "fit"

    @property
    def floor_folder(self) -> Path:
        """Where the results of floors are kept, by fingerprint."""
        return cache_folder() / "floors"

    def prepare_data(self) -> None:
        """Fill the caches on one process before the others read them."""
        self._prepared = self._prepared or prepare(self.source, self.recipe, cache_folder())
        if self.item_text is not None:
            rank_zero_info(f"Texts: {self.item_text.hits}.")

    def setup(self, stage: str) -> None:
        """Read the prepared data and choose the rows that this stage may see.

        Raises:
            InputError: the data cannot be read or prepared, or there is nothing to test on.
        """
        self._stage = stage
        if self._prepared is None:
            self._prepared = prepare(self.source, self.recipe, cache_folder())
        self._check_views()
        if stage == "test" and not self.holds(TEST):
            raise InputError(
                "There are no test rows: data.recipe.test is 0, or no user has rows enough to hold any out.\n"
                f"{sizes_of(self._prepared.steps)}"
            )

    def _check_views(self) -> None:
        """Refuse val rows among what is seen where they may be later than what is tested."""
        domains = self.prepared.domains
        if self.test_views == "train+val" and domains and self.recipe.split == "leave_last_out":
            raise InputError(
                f"data.test_views: train+val would show models the future: these data have the domains "
                f"{', '.join(domains)}, and with the split leave_last_out a user's val rows in one may be later than "
                "the test rows in another. Say data.test_views: train."
            )

    @property
    def prepared(self) -> Prepared:
        """The prepared tables: ids, titles, splits, the steps that led there."""
        if self._prepared is None:
            self.setup(self._stage)
            assert self._prepared is not None
        return self._prepared

    @property
    def schema(self) -> Schema:
        """Sizes and names of the prepared data."""
        return self.prepared.schema(self.history_length, self.typed_graph, self.item_text, self.item_features)

    @cached_property
    def typed_graph(self) -> TypedGraph:
        """Attributes, hierarchies, features and weights of the graph; the names of its attribute nodes."""
        return self.prepared.typed_graph(self.graph, self.source.root)

    @cached_property
    def item_text(self) -> ItemText | None:
        """Vectors of what is written about the items; None where no option asks for them."""
        return None if self.text is None else make_text(self.prepared, self.text, self.source.root, cache_folder())

    @cached_property
    def item_features(self) -> ItemFeatures | None:
        """Features of the items, with all that is needed to make those of new ones; None where none are asked for."""
        return None if self.features is None else fit_features(self.prepared, self.features)

    @property
    def seed(self) -> int:
        """The run's seed, as `seed_everything` set it; 0 without one."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    @property
    def fitting_views(self) -> Views:
        """What parameters are trained on and closed forms are solved from at the current stage."""
        return self.views_of(*self.fitting_splits)

    @property
    def fitting_splits(self) -> tuple[str, ...]:
        """The splits of the fitting views at the current stage."""
        unseen_until_the_end = self._stage in ("test", "predict") and self.test_views == "train+val"
        return (TRAIN, VAL) if unseen_until_the_end else (TRAIN,)

    @property
    def views(self) -> Views:
        """What users are scored by at the current stage: given rows too; the fitting views where there are none."""
        return self.views_of(*self.visible_splits)

    @property
    def visible_splits(self) -> tuple[str, ...]:
        """The splits of the views at the current stage."""
        return (*self.fitting_splits, *self.given)

    @property
    def given(self) -> tuple[str, ...]:
        """The split of given rows; nothing where there are none."""
        return (GIVEN,) if self.prepared.mask(GIVEN).any() else ()

    def views_of(self, *splits: str) -> Views:
        """The resident tensors made of the rows of these splits."""
        if splits not in self._views:
            self._views[splits] = self.prepared.views(
                *splits,
                history_length=self.history_length,
                graph=self.typed_graph,
                text=self.item_text,
                features=self.item_features,
            )
        return self._views[splits]

    def train_dataloader(self) -> Any:
        """Batches of train positives, with the negatives that the task asks for.

        Raises:
            InputError: the task trains on something else.
        """
        task = getattr(self.trainer, "lightning_module", None)
        if getattr(task, "trains_on", "pairs") != "pairs":
            raise InputError(
                f"{type(task).__name__} trains on users in domains, and {type(self).__name__} gives pairs of users and "
                "items. Give it the vectors of an earlier run: --data EmbeddingDataModule with --data.vectors FILE, "
                "and these data as --data.interactions."
            )
        return self.pair_loader(getattr(task, "negatives", None) or Uniform())

    def pair_loader(self, negatives: NegativeSampler) -> PairLoader | DomainPairLoader:
        """Batches of train positives with negatives, both made on the training device.

        Raises:
            InputError: the data have several domains, and the sampler knows of one.
        """
        views = self.views_of(TRAIN).to(self._device())
        known = CSR(*(tensor.to(views.device) for tensor in self.prepared.known(TRAIN)))
        if views.domain is None:
            return self._pairs(views.train, known, views.num_items, negatives, self.seed)
        if isinstance(negatives, HardNegatives):
            raise InputError(
                f"HardNegatives mine the items of all domains together, and these data have {len(self.schema.domains)} "
                f"({', '.join(self.schema.domains)}). Choose Uniform, Popularity or InBatch."
            )
        parts = []
        for code, items in enumerate(views.members):
            train, own = views.train.within(items), known.within(items)
            seed = self.seed * len(views.members) + code  # no domain draws as another does under another seed
            parts.append(self._pairs(train, own, len(items), copy.deepcopy(negatives), seed))
        return DomainPairLoader(parts, views.members, self.seed)

    def _pairs(self, train: CSR, known: CSR, num_items: int, negatives: NegativeSampler, seed: int) -> PairLoader:
        negatives.prepare(train, num_items, known)
        return PairLoader(
            train.row,
            train.col,
            negatives,
            batch_size=self.batch_size,
            seed=seed,
            rank=self._rank(),
            world_size=self._world_size(),
        )

    def val_dataloader(self) -> RankingLoader | DomainRankingLoader | list[RankingBatch]:
        """Users with val rows; their train and given rows are masked. Empty where the recipe makes no val rows."""
        return self.ranking_loader(VAL) if self.holds(VAL) else []

    def test_dataloader(self) -> RankingLoader | DomainRankingLoader:
        """Users with test rows; their train, val and given rows are masked."""
        return self.ranking_loader(TEST)

    def predict_dataloader(self) -> RankingLoader | DomainRankingLoader:
        """Every user with a visible row, in every domain; train, val and given rows are masked, as in test."""
        known = self.prepared.known(TRAIN, VAL, GIVEN)
        users = known.degree.nonzero()[:, 0]
        nothing = CSR(torch.zeros_like(known.crow), known.col[:0])
        if not self.schema.domains:
            return self._ranking_loader(users, known, nothing)
        return DomainRankingLoader([self._ranking_loader(users, known, nothing) for _ in self.schema.domains])

    def holds(self, split: str) -> bool:
        """Whether any positive belongs to this split."""
        return bool(self.prepared.positives(split).any())

    def ranking_loader(self, split: str) -> RankingLoader | DomainRankingLoader:
        """Users with rows in `split`; the rows of the splits before it are masked, and given ones.

        Where there are several domains, users with such rows in each.
        """
        relevant = self.prepared.csr(split)
        seen = self.prepared.known(*SPLITS[: SPLITS.index(split)], GIVEN)
        if self.prepared.domain is None:
            return self._ranking_loader(relevant.degree.nonzero()[:, 0], seen, relevant)
        domain = torch.from_numpy(self.prepared.domain.astype(np.int64))[relevant.col]
        users = [relevant.row[domain == code].unique() for code in range(len(self.prepared.domains))]  # type: ignore[no-untyped-call]
        return DomainRankingLoader([self._ranking_loader(of_domain, seen, relevant) for of_domain in users])

    def _ranking_loader(self, users: torch.Tensor, seen: CSR, relevant: CSR) -> RankingLoader:
        device = self._device()
        size = self.eval_batch_size or max(1, min(2048, SCORES_PER_BATCH // self.schema.num_items))
        return RankingLoader(
            users.to(device),
            CSR(*(tensor.to(device) for tensor in seen)),
            CSR(*(tensor.to(device) for tensor in relevant)),
            batch_size=size,
            rank=self._rank(),
            world_size=self._world_size(),
        )

    def transfer_batch_to_device(
        self, batch: PairBatch | RankingBatch, device: torch.device, dataloader_idx: int
    ) -> PairBatch | RankingBatch:
        """Batches are made where they are used: nothing to move."""
        return batch

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size
