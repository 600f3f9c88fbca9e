"""Finds the negatives that a model finds hard."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.metrics.ranking import mask, tie_priority, top_k
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.modes import evaluating

SCORES_AT_ONCE = 1 << 24
"""Users are ranked for in blocks of so many (user, item) scores: 64 MiB of float32."""


@torch.no_grad()
def hardest(model: Recommender, views: Views, known: CSR, skip: int, pool: int) -> Tensor:
    """The items that a model ranks highest for each user, (U, pool) int32; -1 where there are no more.

    Exact, and the same wherever it is computed: equal scores go by one fixed order of the items.

    Args:
        model: with its current parameters; dropout and the like are off meanwhile.
        views: what it was trained on.
        known: items of each user that are no candidates.
        skip: leave so many out at the top.
        pool: keep so many behind them.
    """
    priority = tie_priority(views.num_items).to(views.device)
    table = torch.empty(views.num_users, pool, dtype=torch.int32, device=views.device)
    block = max(1, SCORES_AT_ONCE // views.num_items)
    with evaluating(model):
        state = model.encode(views)
        for first in range(0, views.num_users, block):
            user = torch.arange(first, min(first + block, views.num_users), device=views.device)
            scores = model.score_all(model.users(state, user), state).float()
            mask(scores, known.select(user))
            table[user] = top_k(scores, skip + pool, priority).item[:, skip:].int()
    return table
