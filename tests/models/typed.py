"""A small world with all that a typed graph can hold: weighed edges, attributes, a hierarchy, features of items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.schema import EdgeType, Schema
from tests import worlds
from tests.models import graphs

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

U, I = 23, 17  # noqa: E741
RATES, BACK = ("user", "rates", "item"), ("item", "rev_rates", "user")
GENRE, FROM_GENRE = ("item", "has_genre", "genre"), ("genre", "rev_has_genre", "item")
DIAMOND = torch.tensor([[0, 0, 1, 2, 3], [1, 2, 3, 3, 4]])
"""Genre 0 is a 1 and a 2, which are both a 3, which is a 4: (child, parent)."""


class World(NamedTuple):
    """The data in their dense form, and what models see of them."""

    schema: Schema
    views: Views
    matrix: Tensor  # (U, I) weights of the edges
    values: dict[str, Tensor]  # (I, values) 0/1
    features: Tensor | None  # (I, F)

    @property
    def dense(self) -> dict[EdgeType, Tensor]:
        """(targets, sources) weights of each relation."""
        found = {BACK: self.matrix, RATES: self.matrix.T}
        for kind, owned in self.values.items():
            found["item", f"has_{kind}", kind] = owned.T.double()
            found[kind, f"rev_has_{kind}", "item"] = owned.double()
        return found


def world(
    seed: int = 0,
    weighted: bool = False,
    attributes: bool = True,
    hierarchy: bool = False,
    features: int = 0,
    matrix: Tensor | None = None,
    values: dict[str, Tensor] | None = None,
) -> World:
    """Users 3 and items 5 and 11 have no rows; item 2 and the last value of each kind have no values and items."""
    generator = torch.Generator().manual_seed(seed)
    if matrix is None:
        matrix = torch.rand(U, I, generator=generator) < 0.3
        matrix[3], matrix[:, [5, 11]] = False, False
    values = (graphs.attributes(matrix.shape[1]) if values is None else values) if attributes else {}
    weights = matrix.double()
    if weighted:
        weights = weights * (0.2 + torch.rand(matrix.shape, generator=generator, dtype=torch.float64))
    weights = weights.float().double()
    x = torch.randn(matrix.shape[1], features, generator=generator) if features else None
    schema = graphs.schema(*matrix.shape) if attributes else worlds.schema(*matrix.shape)
    schema = replace(
        schema,
        edge_types=(*schema.edge_types, *([("genre", "is_a", "genre")] if hierarchy else [])),
        edge_weight="rating" if weighted else "none",
        num_features=features,
        num_nodes={**schema.num_nodes, **{kind: owned.shape[1] for kind, owned in values.items()}},
    )

    def build() -> HeteroData:
        graph = graphs.heterograph(matrix, values)
        if weighted:
            graph[RATES].weight = graph[BACK].weight = weights[matrix].float()
        if hierarchy:
            graph["genre", "is_a", "genre"].edge_index = DIAMOND
        if x is not None:
            graph["item"].x = x
        return graph

    views = Views(worlds.csr(matrix), matrix.shape[1], build_graph=build)
    return World(schema, views, weights, values, None if x is None else x.double())
