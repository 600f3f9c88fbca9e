"""A small world whose items have features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Features, PairBatch, Views
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import Recommender
from recsys_lightning.schema import Schema
from tests import worlds

U, I = 23, 17  # noqa: E741
NUMBERS = ("year", "length", "title_words")
CATEGORIES = {"genre": 5, "author": 7}
NOBODY, COLD, BARE = 3, 5, 6
"""A user without items, an item without users, and an item of which nothing is known."""


def schema(num_users: int = U, num_items: int = I) -> Schema:
    """A schema of a world with features."""
    return replace(worlds.schema(num_users, num_items), numbers=NUMBERS, categories=dict(CATEGORIES), features="world")


def features(num_items: int = I, order: Tensor | None = None, seed: int = 2) -> Features:
    """Features of the items, which were put in `order`."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(num_items, len(NUMBERS), generator=generator)
    kinds = [torch.rand(num_items, size, generator=generator) < 0.4 for size in CATEGORIES.values()]
    for values in (numbers, *kinds):
        values[BARE : BARE + 1] = 0
    order = torch.arange(num_items) if order is None else order
    return Features(numbers[order], tuple(worlds.csr(values[order]) for values in kinds))


def matrix(seed: int = 0) -> Tensor:
    """Who has what, (U, I): nobody and nothing as above, and user 4 has item 0 alone."""
    found = torch.rand(U, I, generator=torch.Generator().manual_seed(seed)) < 0.35
    found[NOBODY], found[4], found[:, COLD] = False, False, False
    found[4, 0] = True
    return found


def views(matrix: Tensor, order: Tensor | None = None, of: Features | None = None) -> Views:
    """Views with features, those of `of` where given."""
    found = features(matrix.shape[1], order) if of is None else of
    return Views(worlds.csr(matrix), matrix.shape[1], build_features=lambda: found)


def double(given: Features) -> Features:
    """The same in float64."""
    return Features(given.numbers.double(), given.categories)


def batch(matrix: Tensor, seed: int = 0, count: int = 2) -> PairBatch:
    """All pairs, with negatives."""
    user, item = matrix.nonzero().T
    drawn = torch.multinomial(
        (~matrix[user]).float(), count, generator=torch.Generator().manual_seed(seed), replacement=True
    )
    return PairBatch(user, item, drawn, torch.zeros(len(user)), torch.zeros(drawn.shape))


def loss(model: Recommender, views: Views, batch: PairBatch) -> Tensor:
    """What `Ranking` makes of a batch."""
    state = model.encode_for(views, batch)
    u = model.users_without(state, batch.user, batch.item)
    positive = model.score(u, model.items(state, batch.item))
    total = bpr(positive, model.score(u[:, None], model.items(state, batch.negative)))
    auxiliary = model.auxiliary(state, batch)
    return total if auxiliary is None else total + auxiliary


def dense(rows: CSR, columns: int) -> Tensor:
    """0/1 matrix of rows, float64."""
    found = torch.zeros(len(rows.crow) - 1, columns, dtype=torch.float64)
    found[rows.row, rows.col] = 1
    return found


def shaken(model: torch.nn.Module, by: float = 0.3, seed: int = 9) -> Any:
    """A model off its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model
