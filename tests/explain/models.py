"""Small trained models, and an advisor that knows them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.explain.advisor import Advisor
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import Recommender
from recsys_lightning.schema import Schema
from tests.worlds import blocks

RATES = ("user", "rates", "item")
HAS = ("item", "has_genre", "genre")


def train(model: Recommender, views: Views, steps: int = 40) -> Recommender:
    """A few full-batch steps with BPR; closed forms are solved."""
    model.fit(views)
    if model.closed_form:
        return model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    user, item = views.train.row, views.train.col
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        state = model.encode(views)
        negative = torch.randint(views.num_items, (len(user),), generator=generator)
        u = model.users(state, user)
        loss = bpr(
            model.score(u, model.items(state, item)), model.score(u[:, None], model.items(state, negative)[:, None])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def catalogue(schema: Schema) -> Catalogue:
    """Users u0, u1, ...; items m0, m1, ... with titles; attribute values by kind and number."""
    return Catalogue(
        schema,
        [f"u{user}" for user in range(schema.num_users)],
        [f"m{item}" for item in range(schema.num_items)],
        [f"Movie {item}" for item in range(schema.num_items)],
        {
            kind: [f"{kind} {value}" for value in range(size)]
            for kind, size in schema.num_nodes.items()
            if kind not in ("user", schema.item_type)
        },
    )


def advisor(kind: type[Recommender], **options: Any) -> Advisor:
    """A model of users and items in blocks."""
    schema, views = blocks()
    torch.manual_seed(0)
    return Advisor(train(kind(schema, **options), views), views, catalogue(schema))


def score(advisor: Advisor, views: Views, user: int, item: Tensor) -> Tensor:
    """(K,) by the whole row of scores."""
    with torch.no_grad():
        state = advisor.model.encode(views)
        return advisor.model.score_all(advisor.model.users(state, torch.tensor([user])), state)[0, item]
