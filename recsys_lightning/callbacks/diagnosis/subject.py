"""What a diagnosis looks at, and what several of its parts need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.data.vocabulary import Attribute, attributes
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.explain.ranking import best
from recsys_lightning.metrics.ranking import Ranked, find_hits, pair_keys
from recsys_lightning.metrics.sharing import Kind
from recsys_lightning.models.base import Recommender, State
from recsys_lightning.tasks.evaluation import RankingTask

USERS_AT_ONCE = 4096


class Options(NamedTuple):
    """How much is looked at; see `Diagnostics`."""

    users: int
    pairs: int
    resamples: int
    samples: int
    neighbours: int
    seed: int


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked at: a model that was tested, in evaluation mode, with what it was tested on.

    Attributes:
        task: the test.
        data: it was made on.
        state: of the model.
        seen: items that are not recommended (U rows).
        relevant: items that are looked for (U rows).
        user: (B,) users whose lists are looked at, on the device.
        options: of the callback.
    """

    task: RankingTask
    data: InteractionsDataModule
    state: State
    seen: CSR
    relevant: CSR
    user: Tensor
    options: Options

    @property
    def model(self) -> Recommender:
        """The model."""
        return self.task.recommender

    @property
    def k(self) -> int:
        """Length of the lists: the first cut-off."""
        return self.task.k[0]

    @cached_property
    def own(self) -> CSR:
        """Items that the model knows of each user (U rows), on the CPU."""
        return CSR(*(tensor.cpu() for tensor in self.task.views.train))

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """(I,) rows of each item in train."""
        return self.task.fitting_views.popularity.cpu().numpy()

    @cached_property
    def lists(self) -> Ranked:
        """Recommendations of the users, on the CPU."""
        found = best(self.model, self.state, self.user, self.k, self.seen)
        return Ranked(*(tensor.cpu() for tensor in found))

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """(B, k) recommendations that are relevant."""
        keys = pair_keys(self.relevant.select(self.user), self.model.num_items)
        return find_hits(self.lists.item, keys.cpu(), self.model.num_items).numpy()

    @cached_property
    def kinds(self) -> list[Kind]:
        """What items can share: attributes, and other columns that features are made of."""
        prepared, recipe = self.data.prepared, self.data.features
        others = [name for name in (recipe.categories if recipe else []) if name not in prepared.attributes]
        columns = {name: name for name in others if name not in prepared.item_attributes}
        found = {**prepared.item_attributes, **attributes(prepared.items, columns, prepared.in_train)}
        return [_kind(name, attribute, prepared.num_items) for name, attribute in found.items()]

    @cached_property
    def vectors(self) -> tuple[Tensor, Tensor] | None:
        """Users (U, D) and items (I, D) whose dot products are the scores; None where scores are made otherwise."""
        if self.model.closed_form:
            return None
        item, some = self.model.items(self.state), self.model.users(self.state, self.user[:8])
        if item.dim() != 2 or some.dim() != 2 or item.shape[1] != some.shape[1]:
            return None
        scores, products = self.model.score_all(some, self.state).float(), (some @ item.T).float()
        if not torch.allclose(scores, products, rtol=1e-3, atol=1e-3 * float(scores.abs().max())):
            return None
        everybody = torch.arange(self.model.num_users, device=item.device)
        return torch.cat([self.model.users(self.state, part) for part in torch.split(everybody, USERS_AT_ONCE)]), item


def rows_of(table: CSR, rows: Tensor) -> CSR:
    """Chosen rows, on the CPU."""
    rows = rows.to(table.crow.device)
    place, col = table.select(rows)
    count = torch.bincount(place, minlength=len(rows))
    return CSR(torch.cat([count.new_zeros(1), count.cumsum(0)]).cpu(), col.cpu())


def _kind(name: str, attribute: Attribute, num_items: int) -> Kind:
    count = np.bincount(attribute.item, minlength=num_items)
    crow = torch.from_numpy(np.concatenate([[0], count.cumsum()]))
    return Kind(name, attribute.values, CSR(crow, torch.from_numpy(attribute.value)))
