"""How much memory training a GenreGAT takes, out of sizes alone: to be known before anything of them is allocated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recsys_lightning.models.listening import Scoring
from recsys_lightning.models.messages import Messages
from recsys_lightning.models.profiles import BLOCK
from recsys_lightning.schema import EdgeType

Counts = Mapping[str, int]


class Layer(NamedTuple):
    """How many nodes and edges one layer of message passing touches."""

    source: Counts  # by node type
    target: Counts
    edges: Mapping[EdgeType, int]


class Footprint(NamedTuple):
    """Sizes of a model and of its graph, and the bytes that follow; all floats have 4."""

    pair: tuple[str, str]  # node types of users and items
    nodes: Counts  # by node type
    edges: Mapping[EdgeType, int]  # of each relation, both directions
    heard: Sequence[Sequence[EdgeType]]  # relations of each layer, that of the batch last
    fan_out: Sequence[int] | None
    dim: int
    heads: int
    scoring: Scoring
    dropout: bool
    parameters: int

    @classmethod
    def of(
        cls,
        messages: Messages,
        dim: int,
        nodes: Counts,
        edges: Mapping[EdgeType, int],
        fan_out: Sequence[int] | None,
        parameters: int,
    ) -> Footprint:
        """With what messages know of themselves."""
        heads, scoring, dropout = messages.heads, messages.attention, messages.dropout > 0
        heard = messages.heard
        return cls(messages.pair, nodes, edges, heard, fan_out, dim, heads, scoring, dropout, parameters)

    def parts(self, batch_size: int) -> dict[str, int]:
        """Bytes by part.

        Args:
            batch_size: positives of a step, of one negative each.

        Returns:
            parameters: with their gradients and the two moments of Adam.
            graph: rows, edges, relations and profiles.
            activations: the most that a training step holds at a time, or that making the graph's facts does.
            total: the sum.
        """
        found = {
            "parameters": 16 * self.parameters,
            "graph": self.graph(),
            "activations": max(self.step(batch_size), self.building()),
        }
        return {**found, "total": sum(found.values())}

    def graph(self) -> int:
        """Bytes that stay: the rows, an edge's 24 in both directions' relations, 12 in profiles, 32 in the graph."""
        rates = max((size for kind, size in self.edges.items() if {kind[0], kind[2]} == set(self.pair)), default=0)
        each = sum(self.edges.values()) // 2
        return 8 * rates + (36 + 32 * (self._kinds > 0)) * each + 32 * sum(self.nodes.values()) * (1 + self._kinds)

    def building(self) -> int:
        """Bytes that making relations and profiles takes for a while."""
        users = self.nodes[self.pair[0]]
        shares = [users * size for kind, size in self.nodes.items() if kind not in self.pair]
        return max(40 * max(self.edges.values(), default=0), 12 * min(BLOCK, max(shares, default=0)))

    def step(self, batch_size: int) -> int:
        """Bytes of what a step saves for the backward pass, and of the most that is added to it."""
        row, (users, items) = 4 * self.dim, (self.nodes[kind] for kind in self.pair)
        seeds = dict(zip(self.pair, (min(users, batch_size), min(items, 2 * batch_size)), strict=True))
        if self.fan_out is None:  # few are picked out, most are not
            seeds = {kind: size if 2 * size < self.nodes[kind] else self.nodes[kind] for kind, size in seeds.items()}
        saved, passing = row * (users + items), 0
        for layer in self.layers(seeds):
            once = row * (sum(layer.source.values()) + sum(layer.target.values()))
            for edge_type, edges in layer.edges.items():
                kept, more = self._relation(layer.source[edge_type[0]], layer.target[edge_type[2]], edges)
                saved += kept + (0 if self.fan_out is None else 40 * edges)
                passing = max(passing, once + more)
        wide = row * (1 + self._kinds)
        state = row * self._kinds * (items + 2 * seeds[self.pair[0]]) + wide * seeds[self.pair[1]]
        reads = wide * (12 * batch_size + 3 * seeds[self.pair[1]] + seeds[self.pair[0]])
        return saved + state + max(reads, passing + state)

    def layers(self, seeds: Counts) -> list[Layer]:
        """The most that each layer can touch when it serves so many users and items, the outermost first.

        Where all neighbours are asked, a part of the nodes is taken to have twice its part of the edges: those that
        batches draw more often have more of them.
        """
        found: list[Layer] = []
        target = dict(seeds)
        for depth, relations in enumerate(reversed(self.heard)):
            source = dict(self.nodes) if self.fan_out is None else dict(target)
            drawn = {}
            for edge_type in relations:
                there, _, here = edge_type
                count, size = target.get(here, 0), -1 if self.fan_out is None else self.fan_out[depth]
                part = min(1.0, 2 * count / max(1, self.nodes[here]))
                most = int(self.edges[edge_type] * part)
                drawn[edge_type] = most if size < 0 else min(most, size * count)
                if self.fan_out is not None:
                    source[there] = min(self.nodes[there], source.get(there, 0) + drawn[edge_type])
            found.append(Layer(source, {kind: target.get(kind, 0) for kind in self.nodes}, drawn))
            target = source
        return found[::-1]

    def _relation(self, sources: int, targets: int, edges: int) -> tuple[int, int]:
        """Bytes that a relation of a layer keeps for the backward pass, and those of a moment."""
        row, heads = 4 * self.dim, self.heads
        if self.scoring == "gat":
            return row * (sources + 4 * targets) + edges * heads * self.dropout, row * (sources + targets) + 24 * edges
        if self.scoring == "gatv2":
            kept = row * (sources + 3 * targets) + edges * (8 + heads * (4 + 5 * self.dropout))
            return kept, row * (sources + targets) + 16 * edges * heads
        return row * 2 * targets + 9 * edges * self.dropout, row * targets + 16 * edges

    @property
    def _kinds(self) -> int:
        return len(self.nodes) - 2
