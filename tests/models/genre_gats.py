"""GenreGAT in worlds of all kinds, off its start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import GenreGAT
from tests.models.typed import I, U, World

ATTENTIONS, GATES = ["gat", "gatv2", "none"], ["fixed", "adaptive", "learned"]
CLOSE = {"atol": 1e-9, "rtol": 1e-9}
SINGLE = {"atol": 1e-5, "rtol": 0}
RICH = {"weighted": True, "hierarchy": True, "features": 4}


def scores(model: GenreGAT, state: Any) -> Tensor:
    """(U, I)"""
    return model.score_all(model.users(state, torch.arange(model.num_users)), state)


def batch_of(user: Tensor, item: Tensor, negative: Tensor) -> PairBatch:
    return PairBatch(user, item, negative, torch.zeros_like(item).float(), torch.zeros_like(negative).float())


def trained(world: World, steps: int = 15, sampled: bool = False, **options: Any) -> GenreGAT:
    """A model in float64 that has taken some steps away from the start."""
    torch.manual_seed(0)
    model = GenreGAT(world.schema, **{"dim": 12, "heads": 3, "dropout": 0.0, **options}).double().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    user, item = (world.matrix > 0).nonzero().T
    for _ in range(steps):
        batch = batch_of(user, item, torch.randint(I, (len(user), 1)))
        state = model.encode_for(world.views, batch) if sampled else model.encode(world.views)
        u = model.users_without(state, user, item)
        positive, negative = model.items(state, item), model.items(state, batch.negative)
        loss = bpr(model.score(u, positive), model.score(u[:, None], negative))
        optimizer.zero_grad()
        (loss + 1e-3 * model.penalty(state, user, item, batch.negative)).backward()
        optimizer.step()
    return model.eval()


ALL_PAIRS = torch.cartesian_prod(torch.arange(U), torch.arange(I)).T
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (RICH, {"gate": "learned"}),
    ({"attributes": False}, {}),
    ({"weighted": True}, {"attention": "gatv2", "gate": "adaptive"}),
    ({"hierarchy": True}, {"attention": "none", "layers": 1}),
    ({"features": 3}, {"layers": 0}),
    ({}, {"attention": "none", "layers": 3, "gate": "learned"}),
]
everywhere = pytest.mark.parametrize(("data", "options"), DIFFERENT)
