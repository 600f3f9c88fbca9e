"""Messages along the edges of a typed graph: what users and items tell one another, and what attributes add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from recsys_lightning.models.attention import mix, rows
from recsys_lightning.models.listening import Listening, Scoring
from recsys_lightning.models.neighbours import Block
from recsys_lightning.models.relations import Relation, edge_key
from recsys_lightning.models.sparse import rows_at
from recsys_lightning.schema import EdgeType, Schema

Nodes = Mapping[str, Tensor]
"""Rows (n, D) of each node type."""
Relations = Mapping[EdgeType, Relation]


class Messages(nn.Module):
    """Layers of `Listening` between users, items and kinds k of attributes, and their mean.

        x_user^l  = sum over own items  alpha x_item^(l-1)
        x_item^l  = sum over its users  alpha x_user^(l-1)  +  sum over kinds k  g_k^l  mean over its values  x_k^(l-1)
        x_k^l     = mean over its items  x_item^(l-1)
        z         = mean of x^0, ..., x^layers

    The means are weighted by attention too. Each share g lies in (-1/2, 1/2) and is zero at the start.

    Args:
        schema: edge types of the graph.
        dim: D.
        heads: H, a divisor of D.
        layers: from 0.
        attention: how `Listening` scores edges.
        dropout: chance of a coefficient to be left out in training.
    """

    def __init__(self, schema: Schema, dim: int, heads: int, layers: int, attention: Scoring, dropout: float) -> None:
        super().__init__()
        self.pair = ("user", schema.item_type)
        self.heads = heads
        self.attention = attention
        self.dropout = dropout
        self.edge_types = {edge_key(kind): kind for kind in schema.edge_types if kind[0] != kind[2]}
        self.layers = nn.ModuleList()
        self.shares = nn.ParameterDict()
        for layer in range(layers):
            hears = nn.ModuleDict()
            for key, (source, _, target) in self.edge_types.items():
                if target not in self.pair and layer == layers - 1:
                    continue  # nobody hears them any more, and DDP wants every parameter to reach the loss
                hears[key] = Listening(dim, heads, attention, symmetric={source, target} == set(self.pair))
                if source not in self.pair:
                    self.shares[_share(layer, key)] = nn.Parameter(torch.zeros(()))
            self.layers.append(hears)

    @property
    def heard(self) -> list[list[EdgeType]]:
        """The relations of each layer."""
        return [[self.edge_types[key] for key in cast(nn.ModuleDict, layer)] for layer in self.layers]

    def forward(self, x: Nodes, found: Relations, chosen: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """The z of users and items (n, D) out of messages over the whole graph.

        Args:
            x: x^0 of all nodes.
            found: the graph's relations.
            chosen: by node type, the users or items, ascending, whose z alone is wanted; all of them where None.
        """
        total = {kind: some_rows(x[kind], chosen.get(kind)) for kind in self.pair}
        for layer in range(len(self.layers)):
            if layer < len(self.layers) - 1:
                new = self._layer(layer, x, x, found)
                x = {**x, **new}
                new = {kind: some_rows(x[kind], chosen.get(kind)) for kind in total}
            else:
                heard = {
                    kind: edges if (few := chosen.get(kind[2])) is None else rows(edges, few)
                    for kind, edges in found.items()
                }
                new = self._layer(layer, x, {kind: some_rows(x[kind], chosen.get(kind)) for kind in x}, heard)
            total = {kind: total[kind] + new[kind] for kind in total}
        return {kind: part / (len(self.layers) + 1) for kind, part in total.items()}

    def sampled(self, x: Nodes, blocks: Sequence[Block], seeds: Nodes) -> dict[str, Tensor]:
        """The z of some users and items, out of messages along sampled edges.

        Args:
            x: x^0 of all nodes.
            blocks: one a layer, the outermost first.
            seeds: the users and items that the last block is for.
        """
        held = {kind: rows_at(x[kind], nodes) for kind, nodes in (blocks[0].source if blocks else seeds).items()}
        total = {kind: held[kind][: len(nodes)] for kind, nodes in seeds.items()}
        for layer, block in enumerate(blocks):
            target = {kind: held[kind][: len(nodes)] for kind, nodes in block.target.items()}
            held = self._layer(layer, held, target, block.relations)
            total = {kind: total[kind] + held[kind][: len(nodes)] for kind, nodes in seeds.items()}
        return {kind: part / (len(self.layers) + 1) for kind, part in total.items()}

    def coefficients(self, x: Nodes, found: Relations) -> list[dict[EdgeType, Tensor]]:
        """How much is heard along each edge in each layer, (E, H), or (E, 1) without attention; shares included."""
        layers = []
        for layer in range(len(self.layers)):
            heard = {
                kind: hear.coefficients(x[kind[0]], x[kind[2]], found[kind]) * share
                for kind, hear, share in self._hearing(layer)
            }
            layers.append(heard)
            x = {**x, **_mixed(x, found, heard)}
        return layers

    def replay(
        self, x: Nodes, found: Relations, coefficients: Sequence[Mapping[EdgeType, Tensor]]
    ) -> tuple[dict[str, Tensor], list[Nodes]]:
        """The z of users and items with given coefficients of each layer, and x^0, ..., x^layers of all nodes."""
        layers = [x]
        for alpha in coefficients:
            layers.append({**layers[-1], **_mixed(layers[-1], found, alpha)})
        return {kind: torch.stack([part[kind] for part in layers]).mean(0) for kind in self.pair}, layers

    def penalty(self) -> Tensor:
        """Half the squared L2 norm of all attention vectors, a scalar."""
        parts = [hear.penalty() for hears in self.layers for hear in cast(Mapping[str, Listening], hears).values()]
        return torch.stack(parts).sum() if parts else torch.zeros(())

    def _hearing(self, layer: int) -> Iterator[tuple[EdgeType, Listening, Tensor | float]]:
        """The relations of a layer, and the share of what each passes on."""
        for key, hear in cast(Mapping[str, Listening], self.layers[layer]).items():
            share = self.shares[_share(layer, key)].tanh() / 2 if _share(layer, key) in self.shares else 1.0
            yield self.edge_types[key], hear, share

    def _layer(self, layer: int, source: Nodes, target: Nodes, found: Relations) -> dict[str, Tensor]:
        """x^l of the targets out of x^(l-1) of sources and targets."""
        dropout = self.dropout if self.training else 0.0
        new: dict[str, Tensor] = {}
        for kind, hear, share in self._hearing(layer):
            message = share * hear(source[kind[0]], target[kind[2]], found[kind], dropout)
            new[kind[2]] = new[kind[2]] + message if kind[2] in new else message
        return new


def _mixed(x: Nodes, found: Relations, alphas: Mapping[EdgeType, Tensor]) -> dict[str, Tensor]:
    """x^l of the nodes that hear, with given coefficients."""
    new: dict[str, Tensor] = {}
    for kind, alpha in alphas.items():
        message = mix(x[kind[0]], alpha, found[kind])
        new[kind[2]] = new[kind[2]] + message if kind[2] in new else message
    return new


def _share(layer: int, key: str) -> str:
    return f"{layer}-{key}"


def some_rows(table: Tensor, index: Tensor | None) -> Tensor:
    """The rows named; all of them where None."""
    return table if index is None else rows_at(table, index)
