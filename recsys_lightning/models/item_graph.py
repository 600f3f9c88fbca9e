"""Items by the graph of their attributes: what they share with others, and buckets of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, pad

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.attention import coefficients, mix
from recsys_lightning.models.fused_attention import rows_of
from recsys_lightning.models.gat import Attention, folded
from recsys_lightning.models.relations import Relation, node_key, relation
from recsys_lightning.models.sparse import pool, rows_at
from recsys_lightning.schema import EdgeType, Schema

SLOPE = 0.2
"""Of leaky ReLUs below 0."""


class Attributes(NamedTuple):
    """The edges between items and the attributes of all K kinds, which are numbered on.

    To be scored, an item is K nodes, item * K + kind, as what it says and hears differs with the kind, and a softmax is
    over one kind alone. What is heard is added up over kinds: there an item is one node. Both have their edges in one
    order.
    """

    scored_in: Relation  # from nodes of items to attributes
    heard_in: Relation  # from items to attributes
    scored_out: Relation  # from attributes to nodes of items
    heard_out: Relation  # from attributes to items


class ItemGraphEncoder(nn.Module):
    """Items and their attributes tell one another what they are, each once.

        own_i = P [E_1(bucket_i1); ..; E_C(bucket_iC)] + b  (+ e_i)
        z_a = LayerNorm(leaky_relu(x_a + attention over the items of a))
        item_i = LayerNorm(own_i + sum over kinds of attention over the z of i's attributes)

    Attention is GAT's. x_a stays in z_a, so that an attribute of few items has a vector of its own. e_i, an embedding
    of the item, counts only for items that have a positive in train: one that is cold is made of what is known about
    it, in training as in evaluation. Users and interactions play no part otherwise.

    Without context columns and without e, own is one learned vector, and attributes hear nothing: no item could tell
    them anything that another does not.

    Args:
        schema: sizes of the data, context columns and attributes.
        dim: D.
        heads: of the attention, a divisor of D.
        identity: whether there is e.
        context_dim: width of a bucket's embedding E.

    Raises:
        InputError: an argument is out of its range, or the graph knows nothing of items.
    """

    def __init__(self, schema: Schema, dim: int, heads: int = 2, identity: bool = False, context_dim: int = 16) -> None:
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads or context_dim < 1:
            raise InputError(
                f"ItemGraphEncoder needs a dim that heads divides and a context_dim of at least 1, and was given dim "
                f"{dim}, heads {heads} and context_dim {context_dim}."
            )
        self.item_type, self.heads = schema.item_type, heads
        has = {
            kind: (item, name, kind)
            for item, name, kind in schema.edge_types
            if item == self.item_type and kind not in ("user", item) and schema.num_nodes[kind]
        }
        if not (schema.context or has or identity):
            raise InputError(
                "The graph holds neither attributes nor context columns of items, so that nothing tells them apart. "
                "Name some in data.graph.attributes or data.graph.context, or set model.recommender.identity true."
            )
        self.columns, self.kinds = [node_key(name) for name in schema.context], [node_key(kind) for kind in has]
        tables = {node_key(name): torch.empty(size, context_dim) for name, size in schema.context.items()}
        self.context = nn.ParameterDict(tables)
        self.project = nn.Linear(len(tables) * context_dim, dim) if tables else None
        self.item = nn.Parameter(torch.zeros(schema.num_items, dim)) if identity else None
        self.shared = None if tables or identity else nn.Parameter(torch.zeros(dim))
        self.nodes = nn.ParameterDict({node_key(kind): torch.empty(schema.num_nodes[kind], dim) for kind in has})
        for table in (*self.context.values(), *self.nodes.values()):
            nn.init.normal_(table, std=0.1)
        hearing = self.kinds if self.shared is None else []
        self.inward = nn.ModuleDict({kind: Attention(dim, heads) for kind in hearing})
        self.outward = nn.ModuleDict({kind: Attention(dim, heads) for kind in self.kinds})
        self.norm_attribute = nn.LayerNorm(dim) if has else None
        self.norm = nn.LayerNorm(dim)
        self.buckets = buckets(self.item_type, tuple(schema.context.values()))
        self.attributes = attributes(tuple(has.values()), tuple(schema.num_nodes[kind] for kind in has))

    def forward(self, views: Views) -> Tensor:
        """All items, (I, D)."""
        features, own = self._own(views)
        if self.norm_attribute is not None:
            found = views.derive(self.attributes)
            x = torch.cat([self.nodes[kind] for kind in self.kinds])
            if len(self.inward):
                x = x + self._inward(features, own, x, found)
            own = own + self._outward(self.norm_attribute(leaky_relu(x, SLOPE)), own, found)
        out: Tensor = self.norm(own)
        return out

    def _own(self, views: Views) -> tuple[Tensor | None, Tensor]:
        """Own of all items (I, D), and what `project` makes it of (I, F), where it is made of nothing else."""
        features, parts, exact = None, list[Tensor](), self.norm.weight.dtype
        if self.project is not None:
            tables = [self.context[column] for column in self.columns]
            features = rows_at(torch.cat(tables), views.derive(self.buckets)).flatten(1)
            parts.append(self.project(features).to(exact))
        if self.item is not None:
            parts.append(self.item * (views.popularity > 0)[:, None])
        if self.shared is not None:
            parts.append(self.shared.expand(views.num_items, -1))
        return features if len(parts) == 1 else None, sum(parts[1:], parts[0])

    def _inward(self, features: Tensor | None, own: Tensor, x: Tensor, found: Attributes) -> Tensor:
        """What all attributes (n, D) hear of items.

        Own is summed up by attribute before it is projected; or the features are, of which it is an affine map, where
        these are narrower. A column of ones next to them carries the bias, for attributes that hear anything at all.
        """
        layers = [cast(Attention, self.inward[kind]) for kind in self.kinds]
        told = torch.cat([own @ folded(layer.att_src, layer.lin_src) for layer in layers], 1).view(-1, self.heads)
        heard = [
            rows @ folded(layer.att_dst, layer.lin_dst) for layer, rows in zip(layers, self._split(x), strict=True)
        ]
        alpha = _coefficients(told, torch.cat(heard), found.scored_in)
        matrices = [layer.lin_src.weight for layer in layers]
        if self.project is not None and features is not None and features.shape[1] + 1 < own.shape[1]:
            own = pad(features, (0, 1), value=1.0)
            affine = torch.cat([self.project.weight, self.project.bias[:, None]], 1)
            matrices = [matrix @ affine for matrix in matrices]
        messages = []
        for head, weight in enumerate(alpha.split(1, 1)):  # type: ignore[no-untyped-call]
            parts = self._split(mix(own, weight, found.heard_in))
            of_head = [matrix.view(self.heads, -1, matrix.shape[1])[head] for matrix in matrices]
            messages.append(torch.cat([rows @ matrix.T for rows, matrix in zip(parts, of_head, strict=True)]))
        return torch.cat(messages, 1)

    def _outward(self, z: Tensor, own: Tensor, found: Attributes) -> Tensor:
        """What all items (I, D) hear of attributes."""
        layers, parts = [cast(Attention, self.outward[kind]) for kind in self.kinds], self._split(z)
        told = [rows @ folded(layer.att_src, layer.lin_src) for layer, rows in zip(layers, parts, strict=True)]
        heard = torch.cat([own @ folded(layer.att_dst, layer.lin_dst) for layer in layers], 1).view(-1, self.heads)
        alpha = _coefficients(torch.cat(told), heard, found.scored_out)
        values = torch.cat([layer.lin_src(rows) for layer, rows in zip(layers, parts, strict=True)])
        return mix(values, alpha, found.heard_out)

    def _split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows of all attributes by kind."""
        parts: tuple[Tensor, ...] = rows.split([len(self.nodes[kind]) for kind in self.kinds])  # type: ignore[no-untyped-call]
        return parts


class Gather(Function):
    """Rows of a table at the places of edges. The gradient is summed up row by row, in a fixed order."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, crow: Tensor, position: Tensor) -> Tensor:
        """Table (n, H) and index (E,); position[crow[r]:crow[r + 1]] are the edges that name row r."""
        ctx.save_for_backward(crow, position)
        return table.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Of the table."""
        return pool(CSR(*ctx.saved_tensors), gradient.contiguous()), None, None, None


def _coefficients(source: Tensor, target: Tensor, edges: Relation) -> Tensor:
    """GAT's alpha (E, H) by the scores of sources (n_s, H) and targets (n_t, H)."""
    exact = torch.promote_types(source.dtype, torch.float32)
    order = torch.arange(len(edges.norm), dtype=torch.int32, device=source.device)
    told = Gather.apply(source.to(exact), edges.target.col, edges.source.crow, edges.position)  # type: ignore[no-untyped-call]
    heard = Gather.apply(target.to(exact), rows_of(edges.target), edges.target.crow, order)  # type: ignore[no-untyped-call]
    return coefficients(leaky_relu(told + heard, SLOPE), edges, prior=False)


@cache
def buckets(item_type: str, sizes: tuple[int, ...]) -> Callable[[Views], Tensor]:
    """What makes the codes (I, C) of context columns, all of whose buckets are numbered on, for `views.derive`."""

    def build(views: Views) -> Tensor:
        code: Tensor = views.graph[item_type].context
        return code + code.new_tensor([sum(sizes[:column]) for column in range(len(sizes))])

    return build


@cache
def attributes(edge_types: tuple[EdgeType, ...], sizes: tuple[int, ...]) -> Callable[[Views], Attributes]:
    """What makes the edges of some kinds of attributes, for `views.derive`."""

    def build(views: Views) -> Attributes:
        kinds, total = len(edge_types), sum(sizes)
        target, source = [], []
        for kind, edge_type in enumerate(edge_types):
            item, attribute = views.graph[edge_type].edge_index
            target.append(item * kinds + kind)
            source.append(attribute + sum(sizes[:kind]))
        row, col = torch.cat(target), torch.cat(source)
        order = (row * total + col).argsort()
        count = torch.bincount(row, minlength=views.num_items * kinds)
        crow = torch.cat([count.new_zeros(1), count.cumsum(0)])
        scored, heard = (relation(CSR(bounds, col[order]), total) for bounds in (crow, crow[::kinds]))
        return Attributes(scored.reverse, heard.reverse, scored, heard)

    return build
