"""Two-tower models to look at, and batches for them."""

from __future__ import annotations

from typing import Any, get_args

import torch

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.models import TwoTower
from recsys_lightning.models.towers import Fusion
from recsys_lightning.schema import Schema
from tests.models import featured

CLOSE: dict[str, Any] = {"atol": 1e-10, "rtol": 1e-10}
FUSIONS = get_args(Fusion)
FOLDING = [fusion for fusion in FUSIONS if fusion != "identity"]
MIMICKED = ["sum", "concat", "adaptive_mimic"]


def made(world: Views | None = None, seed: int = 0, schema: Schema | None = None, **options: Any) -> TwoTower:
    """A model off its start, which met the interactions of a world, in evaluation, in float64."""
    torch.manual_seed(seed)
    model = TwoTower(
        schema or featured.schema(), **{"dim": 8, "hidden": 10, "dropout": 0.0, "id_dropout": 0.0, **options}
    )
    featured.shaken(model)
    model.fit(featured.views(featured.matrix()) if world is None else world)
    return model.double().eval()


def some(*pairs: tuple[int, int], negative: list[list[int]] | None = None) -> PairBatch:
    user, item = torch.tensor(pairs).T
    drawn = torch.tensor(negative or [[0]] * len(pairs))
    return PairBatch(user, item, drawn, torch.zeros(len(pairs)), torch.zeros(drawn.shape))
