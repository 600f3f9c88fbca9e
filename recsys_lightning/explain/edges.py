"""The edges that an explanation of a recommendation can name, and how they are weighed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.models.base import Recommender, State
from recsys_lightning.models.relations import in_row_order, rated, reverse
from recsys_lightning.schema import EdgeType, Schema

Edges = Mapping[EdgeType, Tensor]
"""Positions of edges by forward edge type: of users' edges, `rates` in all domains, in `views.train`; of others in
the graph."""


def rates(schema: Schema) -> EdgeType:
    """What the edges from users to items are called, of whichever domain these are."""
    return "user", "rates", schema.item_type


def heard(layer: Mapping[EdgeType, Tensor], views: Views, schema: Schema) -> Tensor | None:
    """What users hear along their edges, (E, ...) in the order of `views.train`; None where a layer has none of these.

    Args:
        layer: by edge type, in the order of `Relation.target`.
        views: whose edges they are.
        schema: of the data.
    """
    back = [reverse(kind) for kind in rated(schema.edge_types, schema.item_type)]
    return in_row_order(views, [layer[kind] for kind in back]) if all(kind in layer for kind in back) else None


def own_edges(views: Views, user: int) -> Tensor:
    """(n,) positions of a user's edges in `views.train`."""
    first, last = (int(bound) for bound in views.train.crow[user : user + 2])
    return torch.arange(first, last, device=views.device)


def attribute_edges(views: Views, schema: Schema, item: Tensor) -> dict[EdgeType, Tensor]:
    """Positions of the edges from items (K,) to their attributes, for the types that have any."""
    found = {}
    for edge_type in schema.edge_types:
        source, name, _ = edge_type
        if source == schema.item_type and name.startswith("has_"):
            position = torch.isin(views.graph[edge_type].edge_index[0], item).nonzero()[:, 0]
            if len(position):
                found[edge_type] = position
    return found


def named_for(views: Views, edges: Edges, item: int) -> Tensor:
    """(n,) which edges an explanation of an item can name: all of users, and the item's own to its attributes."""
    masks = [torch.zeros(0, dtype=torch.bool, device=views.device)]
    for edge_type, position in edges.items():
        if edge_type[0] == "user":
            masks.append(torch.ones_like(position, dtype=torch.bool))
        else:
            masks.append(views.graph[edge_type].edge_index[0, position] == item)
    return torch.cat(masks)


def subset(edges: Edges, chosen: Tensor) -> Edges:
    """Some of the edges: `chosen` are their places among all n, one type after the other."""
    found, first = {}, 0
    for edge_type, position in edges.items():
        inside = chosen[(chosen >= first) & (chosen < first + len(position))] - first
        found[edge_type] = position[inside]
        first += len(position)
    return found


def remove(views: Views, edges: Edges) -> Views:
    """The views without these edges."""
    own = [position for (source, name, _), position in edges.items() if (source, name) == ("user", "rates")]
    rest = {edge_type: position for edge_type, position in edges.items() if edge_type[:2] != ("user", "rates")}
    return views.without(own[0] if own else torch.zeros(0, dtype=torch.long, device=views.device), rest)


def weights(views: Views, edges: Edges, weight: Tensor) -> dict[EdgeType, Tensor]:
    """The weight of every edge: `weight` (n,) of the named ones, one after the other by type, and 1 of the others."""
    whole = {}
    for (edge_type, position), own in zip(edges.items(), torch.split(weight, [*map(len, edges.values())]), strict=True):
        whole[edge_type] = torch.ones(number(views, edge_type), device=weight.device).index_put((position,), own)
    return whole


def number(views: Views, edge_type: EdgeType) -> int:
    """How many edges of a forward type there are."""
    return len(views.train.col) if edge_type[:2] == ("user", "rates") else int(views.graph[edge_type].num_edges)


def scores(model: Recommender, state: State, user: int, item: Tensor) -> Tensor:
    """Scores of one user for items (K,) -> (K,)."""
    u = model.users(state, torch.full((1,), user, device=item.device))
    return model.score(u, model.items(state, item))
