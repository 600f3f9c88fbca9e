"""Deletion: what becomes of a recommendation when edges are really taken away."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.explain.edges import Edges, remove, subset
from recsys_lightning.explain.explanation import Fidelity
from recsys_lightning.explain.ranking import places
from recsys_lightning.models.base import Recommender

REMOVED = 5
"""Edges that are taken away."""
DRAWS = 5
"""How often as many random edges are taken away."""


class Outcome(NamedTuple):
    """Where items stand."""

    score: Tensor  # (K,)
    rank: Tensor  # (K,) among the user's unseen items; 0 for items that the user has


@torch.no_grad()
def outcome(model: Recommender, views: Views, hidden: Tensor, user: int, item: Tensor) -> Outcome:
    """Encode and rank anew for one user and items (K,); `hidden` items are not ranked."""
    state = model.encode(views)
    scores = model.score_all(model.users(state, torch.full((1,), user, device=item.device)), state)[0]
    return Outcome(scores[item], places(scores, hidden, item))


def strongest(value: Tensor, most: int = REMOVED) -> Tensor:
    """Places of the largest of values (n,), as far as they are above 0."""
    top = value.topk(min(most, len(value)))
    return top.indices[top.values > 0]


def measure(
    model: Recommender, views: Views, hidden: Tensor, user: int, item: int, edges: Edges, value: Tensor
) -> Fidelity | None:
    """Take the edges with the largest values away, then as many random ones; None where none speaks for the item.

    Args:
        model: in evaluation mode; its parameters stay as they are.
        views: what it sees.
        hidden: items that are not ranked: those that the user has, whatever is taken away.
        user: index.
        item: index.
        edges: n in question, of the user and of the item.
        value: (n,) of each for the item.
    """
    named = strongest(value)
    if not len(named):
        return None
    items = torch.tensor([item], device=value.device)
    after = outcome(model, remove(views, subset(edges, named)), hidden, user, items)
    if len(named) == len(value):  # random ones are the same ones
        return Fidelity(len(named), float(after.score), int(after.rank), None, None)
    generator = torch.Generator().manual_seed(user)
    random = []
    for _ in range(DRAWS):
        drawn = torch.randperm(len(value), generator=generator)[: len(named)].to(value.device)
        random.append(outcome(model, remove(views, subset(edges, drawn)), hidden, user, items))
    return Fidelity(
        removed=len(named),
        score=float(after.score),
        rank=int(after.rank),
        random_score=float(torch.stack([one.score for one in random]).mean()),
        random_rank=float(torch.stack([one.rank for one in random]).double().median()),
    )
