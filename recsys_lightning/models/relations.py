"""The typed graph as message passing reads it: each relation sorted by target and by source, once for all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.sparse import transpose
from recsys_lightning.schema import EdgeType, Schema


class Relation(NamedTuple):
    """The edges of one type, on which messages go from sources to targets. All indices are int32.

    `norm` is w_e / sqrt(d_source d_target), d the sum of the weights w of a node's edges: the symmetric normalisation
    D^-1/2 A D^-1/2 of this relation.
    """

    target: CSR  # row: target node, col: its sources
    source: CSR  # row: source node, col: its targets
    position: Tensor  # (E,), the place in `target` of each edge of `source`
    norm: Tensor  # (E,), in the order of `target`

    @property
    def reverse(self) -> Relation:
        """The same edges, with messages the other way."""
        place = torch.empty_like(self.position)
        place[self.position.long()] = torch.arange(len(place), dtype=place.dtype, device=place.device)
        return Relation(self.source, self.target, place, self.norm[self.position.long()])


def relation(sources: CSR, num_sources: int, weight: Tensor | None = None) -> Relation:
    """A relation out of the sources of each target.

    Args:
        sources: rows are targets.
        num_sources: n.
        weight: (E,) of each edge, above 0; ones where None.
    """
    targets, position = transpose(sources, num_sources)
    row, col = sources.row, sources.col.long()
    w = torch.ones(len(col), dtype=torch.float64, device=col.device) if weight is None else weight.double()
    degrees = [w.new_zeros(len(sources.crow) - 1), w.new_zeros(num_sources)]
    for degree, index in zip(degrees, (row, col), strict=True):
        degree.index_add_(0, index, w)
    norm = w * (degrees[0][row] * degrees[1][col]).rsqrt()
    forward, backward = (CSR(rows.crow.int(), rows.col.int()) for rows in (sources, targets))
    return Relation(forward, backward, position.int(), norm.to(torch.get_default_dtype()))


def relations(schema: Schema) -> Callable[[Views], dict[EdgeType, Relation]]:
    """What makes the relations of a data set, by edge type, for `views.derive`; both directions of every edge type.

    Edges between users and items are those of `views.train`, with the graph's weights where it has any; the others are
    the graph's. A graph of nothing but unweighted users and items is not asked for. Where the schema has an edge type
    for each domain, its relation holds the rows of that domain's items, and has all users and items as nodes.
    """
    return _builder(schema.item_type, schema.edge_types, tuple(schema.num_nodes.items()), schema.edge_weight != "none")


@cache
def _builder(
    item_type: str, edge_types: tuple[EdgeType, ...], num_nodes: tuple[tuple[str, int], ...], weighted: bool
) -> Callable[[Views], dict[EdgeType, Relation]]:
    sizes = dict(num_nodes)

    rates = rated(edge_types, item_type)

    def build(views: Views) -> dict[EdgeType, Relation]:
        found: dict[EdgeType, Relation] = {}
        rows = dict(zip(rates, rows_of(views, len(rates)), strict=True))
        for edge_type in edge_types:
            source, name, target = edge_type
            if name.startswith("rev_") or source == target:
                continue
            if edge_type in rows:
                weight = views.graph[edge_type].weight if weighted else None
                back = relation(_some(views.train, rows[edge_type]), views.num_items, weight)
            else:
                back = relation(_rows(views.graph[edge_type].edge_index, sizes[source]), sizes[target])
            found[edge_type] = back.reverse
            found[reverse(edge_type)] = back
        return found

    return build


def rated(edge_types: Iterable[EdgeType], item_type: str) -> tuple[EdgeType, ...]:
    """The edge types from users to items: one, or one for each domain in their order."""
    return tuple(kind for kind in edge_types if (kind[0], kind[2]) == ("user", item_type))


def reverse(edge_type: EdgeType) -> EdgeType:
    """The edge type of the same edges the other way."""
    source, name, target = edge_type
    return target, f"rev_{name}", source


def rows_of(views: Views, number: int) -> Sequence[Tensor | slice]:
    """Positions in `views.train` of the edges of each edge type between users and items.

    Args:
        views: the rows.
        number: of these types: one, of all rows, or one for each domain.
    """
    return [slice(None)] if number == 1 else views.derive(_rows_of_domains(number))


def in_row_order(views: Views, parts: Sequence[Tensor]) -> Tensor:
    """What edges of each domain have, (E_d, ...) in the order of the rows, as (E, ...) in that of `views.train`."""
    if len(parts) == 1:
        return parts[0]
    place, both = torch.cat(views.derive(_rows_of_domains(len(parts)))), torch.cat([*parts])
    return torch.empty_like(both).index_copy(0, place, both)


def num_edges(views: Views, edge_types: Iterable[EdgeType], item_type: str) -> dict[EdgeType, int]:
    """How many edges there are of each type, the reverse ones among them."""
    rates, found = rated(edge_types := [*edge_types], item_type), dict[EdgeType, int]()
    for edge_type, rows in zip(rates, rows_of(views, len(rates)), strict=True):
        found[edge_type] = found[reverse(edge_type)] = len(views.train.col[rows])
    return {kind: found[kind] if kind in found else views.graph[kind].num_edges for kind in edge_types}


@cache
def _rows_of_domains(number: int) -> Callable[[Views], list[Tensor]]:
    def build(views: Views) -> list[Tensor]:
        assert views.domain is not None
        of_row = views.domain[views.train.col]
        return [(of_row == code).nonzero()[:, 0] for code in range(number)]

    return build


def _some(rows: CSR, chosen: Tensor | slice) -> CSR:
    """The chosen entries of rows, ascending positions."""
    if isinstance(chosen, slice):
        return rows
    return CSR(torch.searchsorted(chosen, rows.crow), rows.col[chosen])


@cache
def node_key(kind: str) -> str:
    """A node type as the name of a parameter or a submodule: torch takes no dots, nor names of its own methods."""
    key = kind.replace(".", "_")
    return f"{key}_" if any(hasattr(taken, key) for taken in (nn.ModuleDict(), nn.ParameterDict())) else key


def edge_key(edge_type: EdgeType) -> str:
    """An edge type as the name of a submodule."""
    return "-".join(edge_type).replace(".", "_")


def in_target_order(
    views: Views, found: Mapping[EdgeType, Relation], weight: Mapping[EdgeType, Tensor]
) -> dict[EdgeType, Tensor]:
    """Weights of edges, for both directions of each relation, in the order of its `target`.

    Args:
        views: the graph.
        found: its relations.
        weight: (E,) by edge type, none of them a reverse one: in the order of `views.train` out of users, where one
            type stands for those of all domains, else of the graph's `edge_index`.
    """
    ordered = {}
    for edge_type, given in weight.items():
        if edge_type[0] == "user":
            kinds = rated(found, edge_type[2])
            parts = dict(zip(kinds, (given[rows] for rows in rows_of(views, len(kinds))), strict=True))
        else:
            parts = {edge_type: given[_order(views.graph[edge_type].edge_index)]}
        for kind, part in parts.items():
            ordered[reverse(kind)] = part
            ordered[kind] = part.index_select(0, found[reverse(kind)].position)
    return ordered


def _rows(edges: Tensor, num_rows: int) -> CSR:
    """Edges (2, E) as CSR, columns ascending."""
    row, col = edges
    crow = torch.cat([row.new_zeros(1), torch.bincount(row, minlength=num_rows).cumsum(0)])
    return CSR(crow, col[_order(edges)])


def _order(edges: Tensor) -> Tensor:
    """Positions of edges (2, E), sorted by the first node and then the second."""
    row, col = edges
    by_col = col.argsort(stable=True)
    positions: Tensor = by_col[row[by_col].argsort(stable=True)]
    return positions
