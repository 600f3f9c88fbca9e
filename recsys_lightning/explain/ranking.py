"""Lists of the best items, and the place of one item among them."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.metrics.ranking import Ranked, mask, tie_priority, top_k
from recsys_lightning.models.base import Recommender, State

SCORES = 1 << 22
"""So many scores are held at a time: 16 MiB of float32, which a list is cheaper to find in than in more."""


def best(model: Recommender, state: State, user: Tensor, k: int, hidden: CSR | None) -> Ranked:
    """The k best items of users (B,), in blocks of users; equal scores in the order that evaluation takes.

    Args:
        model: in evaluation mode.
        state: of it.
        user: (B,)
        k: length of the lists.
        hidden: items of each user (U rows) that are left out.
    """
    priority = tie_priority(model.num_items).to(user.device)
    found = []
    for part in torch.split(user, max(1, SCORES // model.num_items)):
        scores = model.score_all(model.users(state, part), state).contiguous()
        if hidden is not None:
            mask(scores, hidden.select(part))
        found.append(top_k(scores, k, priority))
    return Ranked(torch.cat([part.item for part in found]), torch.cat([part.score for part in found]))


def places(scores: Tensor, hidden: Tensor, item: Tensor) -> Tensor:
    """The rank of items (K,) in scores (I,), 1 being best; 0 for hidden ones.

    Args:
        scores: of one user.
        hidden: items that are not ranked.
        item: (K,)
    """
    priority = tie_priority(len(scores)).to(scores.device)
    ranked = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    ranked[hidden] = False
    own, first = scores[item, None], priority[item, None]
    before = (scores > own) | ((scores == own) & (priority < first))
    return torch.where(ranked[item], (before & ranked).sum(1) + 1, 0)
