"""Visible interactions and item attributes as a typed graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.vocabulary import Attribute

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def heterograph(rows: Interactions, item_type: str, attributes: Mapping[str, Attribute]) -> HeteroData:
    """The graph of users, items and attribute values, every edge in both directions.

    Edge types: `("user", "rates", item_type)` in the order of the rows, with `rating` (E,) float32 and `time` (E,)
    int64 where the rows have them; `(item_type, "has_<kind>", kind)` for each kind of attribute; and the reverse of
    each, named `rev_<relation>`. Nodes have no features, only a number.

    Args:
        rows: visible ones only.
        item_type: node type of the items.
        attributes: by node type.

    Raises:
        ValueError: an edge points to a node that is not there.
    """
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph["user"].num_nodes = rows.num_users
    graph[item_type].num_nodes = rows.num_items
    edges = {("user", "rates", item_type): np.stack([rows.user, rows.item])}
    for kind, attribute in attributes.items():
        graph[kind].num_nodes = len(attribute.values)
        edges[item_type, f"has_{kind}", kind] = np.stack([attribute.item, attribute.value])
    for (source, relation, target), pairs in edges.items():
        edge_index = torch.from_numpy(pairs.astype(np.int64))
        graph[source, relation, target].edge_index = edge_index
        graph[target, f"rev_{relation}", source].edge_index = edge_index.flip(0)
    for name, column in (("rating", rows.rating), ("time", rows.time)):
        if column is not None:
            values = torch.from_numpy(np.array(column))  # a copy: memory-mapped columns are read-only
            graph["user", "rates", item_type][name] = values
            graph[item_type, "rev_rates", "user"][name] = values
    graph.validate()
    return graph
