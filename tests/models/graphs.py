"""Small worlds whose items have attributes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.models.relations import Relation, relation
from recsys_lightning.schema import Schema
from tests import worlds

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

KINDS = {"genre": 5, "director": 8}
"""Numbers of nodes that are no number of users or items, and no width."""


def schema(num_users: int, num_items: int) -> Schema:
    """A schema of users, items, and attributes of the kinds above."""
    plain = worlds.schema(num_users, num_items)
    edges = [("item", f"has_{kind}", kind) for kind in KINDS]
    both = [edge for s, name, t in edges for edge in ((s, name, t), (t, f"rev_{name}", s))]
    return replace(plain, num_nodes={**plain.num_nodes, **KINDS}, edge_types=(*plain.edge_types, *both))


def attributes(num_items: int, seed: int = 7) -> dict[str, Tensor]:
    """Which values the items have, (I, values) by kind: item 2 and the last value of each kind have none."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for kind, size in KINDS.items():
        matrix = torch.rand(num_items, size, generator=generator) < 0.4
        matrix[2:3], matrix[:, -1] = False, False
        found[kind] = matrix
    return found


def heterograph(matrix: Tensor, values: dict[str, Tensor]) -> HeteroData:
    """The graph of users (U rows) and items, and of the items' attribute values."""
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = matrix.shape
    edges = {("user", "rates", "item"): matrix.nonzero().T}
    for kind, owned in values.items():
        graph[kind].num_nodes = owned.shape[1]
        edges["item", f"has_{kind}", kind] = owned.nonzero().T.flip(1)  # in no order that anybody may rely on
    for (source, name, target), edge_index in edges.items():
        graph[source, name, target].edge_index = edge_index
        graph[target, f"rev_{name}", source].edge_index = edge_index.flip(0)
    return graph


def views(matrix: Tensor, item_order: Tensor | None = None) -> Views:
    """Views of a matrix, (U, I), with `attributes` of its columns, which were put in `item_order`."""
    order = slice(None) if item_order is None else item_order
    values = {kind: owned[order] for kind, owned in attributes(matrix.shape[1]).items()}
    return Views(worlds.csr(matrix), matrix.shape[1], build_graph=lambda: heterograph(matrix, values))


def edges(matrix: Tensor) -> Relation:
    """The relation whose targets are the rows, and whose sources are the columns, of a 0/1 matrix."""
    return relation(worlds.csr(matrix), matrix.shape[1])


DOMAINS = ("movie", "book", "song")


def with_domains(plain: Schema) -> Schema:
    """The schema with a relation for each of three domains."""
    rates = [("user", f"rates_{name}", "item") for name in DOMAINS]
    both = [edge for s, name, t in rates for edge in ((s, name, t), (t, f"rev_{name}", s))]
    others = [edge for edge in plain.edge_types if "user" not in edge]
    return replace(plain, edge_types=(*both, *others), domains=DOMAINS)


def views_of_domains(matrix: Tensor, weight: Tensor | None = None) -> Views:
    """Views of a matrix whose items are of three domains in turn, with attributes; `weight` (U, I) of the edges."""
    from torch_geometric.data import HeteroData

    domain = torch.arange(matrix.shape[1]) * 5 % 7 % 3

    def build() -> HeteroData:
        graph = heterograph(matrix, attributes(matrix.shape[1]))
        made = HeteroData()
        for kind in graph.node_types:
            made[kind].num_nodes = graph[kind].num_nodes
        for code, name in enumerate(DOMAINS):
            own = matrix.bool() & (domain == code)
            for edge_type, edges in (
                (("user", f"rates_{name}", "item"), own.nonzero().T),
                (("item", f"rev_rates_{name}", "user"), own.nonzero().T.flip(0)),
            ):
                made[edge_type].edge_index = edges
                if weight is not None:
                    made[edge_type].weight = weight[own]
        for edge_type in graph.edge_types:
            if "user" not in edge_type:
                made[edge_type].edge_index = graph[edge_type].edge_index
        return made

    return Views(worlds.csr(matrix), matrix.shape[1], build_graph=build, domain=domain)
