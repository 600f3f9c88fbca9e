"""Visible interactions and item attributes as a typed graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lightning.data.edge_weights import EdgeWeights
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.vocabulary import Attribute
from recsys_lightning.schema import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True, eq=False)
class TypedGraph:
    """The graph of users, items and attribute values, but for the rows: `build` adds those that are visible.

    Edge types: `("user", "rates", item_type)`, or where there are several domains `("user", "rates_<domain>",
    item_type)` for each; `(item_type, "has_<kind>", kind)` for each kind of attribute; the reverse of each, named
    `rev_<relation>`; and `(kind, "is_a", kind)` from value to parent, which has no reverse. The items of all domains
    are nodes of one type.

    Attributes:
        num_users: U.
        num_items: I.
        item_type: node type of the items.
        attributes: by node type; values without items are those that only the hierarchy brings.
        parents: by node type, (2, E) pairs of child and parent.
        weights: of the edges between users and items.
        features: (I, F) float32 rows of items, or None.
        context: (I, C) int64 codes of buckets, 0 for what is unknown, or None.
        context_sizes: name of each of the C columns, with the number of its buckets, that of the unknown included.
        domains: names of the domains of items; empty where there is one.
        domain: (I,) codes into `domains`, or None where there is one.
    """

    num_users: int
    num_items: int
    item_type: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    parents: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    weights: EdgeWeights = field(default_factory=EdgeWeights)
    features: NDArray[np.float32] | None = None
    context: NDArray[np.int64] | None = None
    context_sizes: dict[str, int] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    domain: NDArray[np.int8] | None = None

    @property
    def rates(self) -> tuple[EdgeType, ...]:
        """The types of the edges that rows make, one for each domain in their order."""
        names = [f"rates_{name}" for name in self.domains] or ["rates"]
        return tuple(("user", name, self.item_type) for name in names)

    @property
    def num_nodes(self) -> dict[str, int]:
        """Nodes of each type, users and items first."""
        sizes = {kind: len(attribute.values) for kind, attribute in self.attributes.items()}
        return {"user": self.num_users, self.item_type: self.num_items, **sizes}

    @property
    def num_features(self) -> int:
        """F, or 0."""
        return 0 if self.features is None else self.features.shape[1]

    @property
    def edge_types(self) -> tuple[EdgeType, ...]:
        """Forward ones, then their reverses, then hierarchies."""
        forward = [*self.rates, *((self.item_type, f"has_{kind}", kind) for kind in self.attributes)]
        backward = [(target, f"rev_{relation}", source) for source, relation, target in forward]
        return (*forward, *backward, *((kind, "is_a", kind) for kind in self.parents))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with everything but the interactions."""
        half_life = self.weights.half_life if self.weights.kind == "recency" else None
        values = {kind: attribute.values for kind, attribute in self.attributes.items()}
        context = [] if self.context is None else [list(self.context_sizes.items())]
        facts = json.dumps([self.edge_types, self.weights.kind, half_life, values, *context])
        digest = hashlib.blake2b(facts.encode(), digest_size=8)
        arrays: list[NDArray[Any]] = []
        for attribute in self.attributes.values():
            arrays += [attribute.item, attribute.value]
        arrays += [*self.parents.values(), *(rows for rows in (self.features, self.context) if rows is not None)]
        for array in arrays:
            digest.update(f"{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def build(self, rows: Interactions) -> HeteroData:
        """The graph of the rows.

        Their edges lie in the order of the rows, with `rating` (E,) float32 and `time` (E,) int64 where the rows have
        them, and `weight` (E,) float32 above 0 where edges are weighed. Items have `x` (I, F) where there are features
        and `context` (I, C) where there are buckets; all other nodes have only a number.

        Args:
            rows: visible ones only, sorted by (user, item).

        Raises:
            ValueError: an edge points to a node that is not there.
        """
        from torch_geometric.data import HeteroData

        graph = HeteroData()
        for kind, size in self.num_nodes.items():
            graph[kind].num_nodes = size
        if self.features is not None:
            graph[self.item_type].x = torch.from_numpy(self.features)
        if self.context is not None:
            graph[self.item_type].context = torch.from_numpy(self.context)
        of_domain = [slice(None)] if self.domain is None else self._rows_of_domains(rows)
        edges: dict[EdgeType, NDArray[Any]] = {}
        for edge_type, chosen in zip(self.rates, of_domain, strict=True):
            edges[edge_type] = np.stack([rows.user[chosen], rows.item[chosen]])
        for kind, attribute in self.attributes.items():
            edges[self.item_type, f"has_{kind}", kind] = np.stack([attribute.item, attribute.value])
        for (source, relation, target), pairs in edges.items():
            edge_index = torch.from_numpy(pairs.astype(np.int64))
            graph[source, relation, target].edge_index = edge_index
            graph[target, f"rev_{relation}", source].edge_index = edge_index.flip(0)
        for kind, pairs in self.parents.items():
            graph[kind, "is_a", kind].edge_index = torch.from_numpy(pairs)
        for name, column in (("rating", rows.rating), ("time", rows.time), ("weight", self.weights(rows))):
            if column is None:
                continue
            for edge_type, chosen in zip(self.rates, of_domain, strict=True):
                values = torch.from_numpy(np.array(column[chosen]))  # a copy: memory-mapped columns are read-only
                graph[edge_type][name] = values
                graph[self.item_type, f"rev_{edge_type[1]}", "user"][name] = values
        graph.validate()
        return graph

    def _rows_of_domains(self, rows: Interactions) -> list[Any]:
        """Positions of the rows of each domain."""
        assert self.domain is not None
        code = self.domain[rows.item]
        return [np.flatnonzero(code == place) for place in range(len(self.domains))]
