"""A small world with all that hybrid models read: texts, attributes, context columns and histories."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from recsys_lightning.batches import History, PairBatch, Text, Views
from recsys_lightning.data.history import histories
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.losses.ranking import Contrastive, bpr
from recsys_lightning.models import HybridRecommender
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import graphs

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

U, I = 23, 17  # noqa: E741
WIDTH, REVIEWS, LEVELS, BUCKETS, LENGTH = 6, 3, 5, 9, 4
CONTEXT = {"year": 5, "budget": 4}
NO_OVERVIEW, NOTHING, NO_REVIEWS = 2, 5, 1
"""Items: with reviews and no overview, with neither, with an overview and no reviews."""


def schema(num_users: int = U, num_items: int = I, reviews: int = REVIEWS) -> Schema:
    """A schema of all of it."""
    return replace(
        graphs.schema(num_users, num_items),
        rating_levels=LEVELS,
        time_buckets=BUCKETS,
        history_length=LENGTH,
        context=CONTEXT,
        text_width=WIDTH,
        max_reviews=reviews,
        text="world",
    )


def matrix(seed: int = 0) -> Tensor:
    """Who has what, (U, I): user 3 has nothing, user 4 item 0 alone, and nobody item 5."""
    found = torch.rand(U, I, generator=torch.Generator().manual_seed(seed)) < 0.35
    found[3], found[4], found[:, NOTHING] = False, False, False
    found[4, 0] = True
    return found


def text(num_items: int = I, order: Tensor | None = None, reviews: bool = True) -> Text:
    """Texts of the items, which were put in `order`."""
    generator = torch.Generator().manual_seed(3)
    overview = torch.randn(num_items, WIDTH, generator=generator)
    written = torch.randn(num_items, REVIEWS, WIDTH, generator=generator)
    item = torch.arange(num_items)
    count = torch.tensor([2, 0, 3, 1])[item % 4] * reviews
    known = (item % 5 != NO_OVERVIEW) & (item != NOTHING)
    order = item if order is None else order
    overview, written, count, known = (rows[order] for rows in (overview * known[:, None], written, count, known))
    flat = written[torch.arange(REVIEWS) < count[:, None]]
    return Text(overview, known, flat, torch.cat([count.new_zeros(1), count.cumsum(0)]))


def history(matrix: Tensor, order: Tensor | None = None, ties: bool = False) -> History:
    """Histories of a matrix's rows, in which times and ratings are those of the items before they were reordered."""
    user, item = matrix.nonzero().T
    known = item if order is None else order[item]
    rows = Interactions(
        user.numpy().astype(np.int32),
        item.numpy().astype(np.int32),
        pa.array([str(name) for name in range(matrix.shape[0])]),
        pa.array([str(name) for name in range(matrix.shape[1])]),
        rating=(1 + known % LEVELS).numpy().astype(np.float32),
        timestamp=((7 * known % 19) // (4 if ties else 1)).numpy() ** 2 * 3600,
    )
    return histories(rows, LENGTH, np.arange(1, LEVELS + 1, dtype=np.float32), BUCKETS)


def views(matrix: Tensor, order: Tensor | None = None, reviews: bool = True, ties: bool = False) -> Views:
    """Views of a matrix whose columns were put in `order`."""
    num_items = matrix.shape[1]
    code = torch.stack(
        [torch.arange(num_items) * step % size for step, size in zip((3, 7), CONTEXT.values(), strict=True)], 1
    )

    def build() -> HeteroData:
        graph = graphs.views(matrix, order).graph
        graph["item"].context = code if order is None else code[order]
        return graph

    return Views(
        worlds.csr(matrix),
        num_items,
        build_graph=build,
        build_history=lambda: history(matrix, order, ties),
        build_text=lambda: text(num_items, order, reviews),
    )


def batch(matrix: Tensor, negatives: int = 1, seed: int = 0) -> PairBatch:
    """All pairs of a matrix with random negatives."""
    user, item = matrix.nonzero().T
    generator = torch.Generator().manual_seed(seed)
    negative = torch.randint(matrix.shape[1], (len(user), negatives), generator=generator)
    return PairBatch(user, item, negative, torch.zeros(len(user)), torch.zeros(negative.shape))


def loss(model: HybridRecommender, views: Views, batch: PairBatch) -> Tensor:
    """What a training step of the ranking task minimises."""
    state = model.encode_for(views, batch)
    u = model.users_without(state, batch.user, batch.item)
    i, n = model.items(state, batch.item), model.items(state, batch.negative)
    value = bpr(model.score(u, i), model.score(u[:, None], n))
    return value + Contrastive()(*model.two_views(u), batch.user) if model.has_two_views else value


def shaken(module: torch.nn.Module, scale: float = 0.3, seed: int = 1) -> None:
    """Moves all parameters off their start, as training does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
