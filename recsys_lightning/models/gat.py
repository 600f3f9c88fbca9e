"""GAT: one layer of attention over the typed graph, and nothing that makes it more than that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.attention import attend, coefficients, logits, logits_v2, mix, rows
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.domains import domain_of
from recsys_lightning.models.listening import LearnedScoring
from recsys_lightning.models.relations import (
    Relation,
    edge_key,
    in_target_order,
    node_key,
    rated,
    relation,
    relations,
    reverse,
)
from recsys_lightning.models.sparse import rows_at
from recsys_lightning.schema import EdgeType, Schema


class Attention(nn.Module):
    """What a target hears from its sources: the `GATConv` of one relation, with H heads of C = D / H each.

        out_t = sum over edges e into t of alpha_e W_src x_source
        alpha_e = softmax_e(leaky_relu(a_src . W_src x_source + a_dst . W_dst x_t))    for each head

    Parameters are named and shaped as torch_geometric's, which computes the same with `add_self_loops=False` and
    `bias=False`. A score is linear in x, so W_src and W_dst are folded into the attention vectors; targets are never
    projected.

    Source: Velickovic et al., ICLR 2018, arXiv 1710.10903.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.lin_src, self.lin_dst = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.att_src, self.att_dst = (nn.Parameter(torch.empty(1, heads, dim // heads)) for _ in range(2))
        for matrix in (self.lin_src.weight, self.lin_dst.weight, self.att_src[0], self.att_dst[0]):
            nn.init.xavier_uniform_(matrix)

    def forward(self, source: Tensor, target: Tensor, edges: Relation, dropout: float) -> Tensor:
        """Embeddings (n_s, D), (n_t, D) -> (n_t, D); dropout is of the coefficients."""
        return attend(self.lin_src(source), *self._scores(source, target), edges, prior=False, dropout=dropout)

    def coefficients(self, source: Tensor, target: Tensor, edges: Relation) -> Tensor:
        """alpha, (E, H)."""
        return coefficients(logits(*self._scores(source, target), edges), edges, prior=False)

    def _scores(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """a_src . W_src x (n_s, H) and a_dst . W_dst x (n_t, H)."""
        return source @ folded(self.att_src, self.lin_src), target @ folded(self.att_dst, self.lin_dst)


class AttentionV2(nn.Module):
    """The `GATv2Conv` of one relation: a target and a source are added up before they are bent.

        out_t = sum over edges e into t of alpha_e W_src x_source
        alpha_e = softmax_e(a . leaky_relu(W_src x_source + W_dst x_t))    for each head

    Which source counts most may differ from target to target, while GAT orders them all alike. torch_geometric names
    `lin_src` and `lin_dst` here `lin_l` and `lin_r`.

    Source: Brody et al., ICLR 2022, arXiv 2105.14491.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.lin_src, self.lin_dst = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.att = nn.Parameter(torch.empty(1, heads, dim // heads))
        for matrix in (self.lin_src.weight, self.lin_dst.weight, self.att[0]):
            nn.init.xavier_uniform_(matrix)

    def forward(self, source: Tensor, target: Tensor, edges: Relation, dropout: float) -> Tensor:
        """Embeddings (n_s, D), (n_t, D) -> (n_t, D); dropout is of the coefficients."""
        values = self.lin_src(source)
        alpha = coefficients(logits_v2(values, self.lin_dst(target), self.att[0], edges), edges, prior=False)
        return mix(values, nn.functional.dropout(alpha, dropout), edges)

    def coefficients(self, source: Tensor, target: Tensor, edges: Relation) -> Tensor:
        """alpha, (E, H)."""
        scores = logits_v2(self.lin_src(source), self.lin_dst(target), self.att[0], edges)
        return coefficients(scores, edges, prior=False)


def folded(attention: Tensor, linear: nn.Linear) -> Tensor:
    """The map from x to a . W x of each head: (1, H, C), (H * C, D) -> (D, H)."""
    by_head = linear.weight.view(*attention.shape[1:], -1)
    return (attention[0, :, None] @ by_head).squeeze(1).T


SCORINGS: dict[LearnedScoring, type[Attention] | type[AttentionV2]] = {"gat": Attention, "gatv2": AttentionV2}


class GAT(Recommender):
    """One layer of graph attention over all node types, and the dot product of users and items.

        z_t = b + sum over relations into t's type of `Attention`,    score = z_u . z_i

    Every node has an embedding. A node's own reaches its z by what it attends to alone: there is no residual, and a
    node without neighbours is its type's bias b. Where there are several domains, users attend to the items of each by
    an attention of its own, and these to users likewise: the same as a graph with a type of items for each domain.
    Weights of edges and features of items play no part. Relations into attributes would reach no loss and have no
    parameters. It is the plain form of the field's tables, and ranks below LightGCN there.

    Source: Velickovic et al., ICLR 2018, arXiv 1710.10903, on relations as torch_geometric's `HeteroConv` adds them up.

    Args:
        schema: sizes of the data.
        dim: D, width of the embeddings and of the layer.
        heads: H, a divisor of dim.
        scoring: `gat`, or `gatv2`: see `AttentionV2`. That one takes some times longer and keeps 4 H bytes an edge.
        dropout: chance of a coefficient to be left out in training, from 0 to less than 1.

    Raises:
        InputError: an argument is out of its range.
    """

    reads_graph = True

    def __init__(
        self, schema: Schema, dim: int = 64, heads: int = 4, scoring: LearnedScoring = "gat", dropout: float = 0.0
    ) -> None:
        super().__init__(schema)
        if dim < 1 or heads < 1 or dim % heads:
            raise InputError(f"GAT needs a dim that heads divides, and was given dim {dim} and heads {heads}.")
        if scoring not in SCORINGS:
            raise InputError(f"GAT knows the scorings {' and '.join(SCORINGS)}, and was given {scoring!r}.")
        if not 0 <= dropout < 1:
            raise InputError(f"GAT needs a dropout from 0 to less than 1, and was given {dropout}.")
        self.item_type = schema.item_type
        self.dropout = dropout
        self.relations = relations(schema)
        self.edge_types = {edge_key(edge_type): edge_type for edge_type in _into_pairs(schema)}
        sources = {source: schema.num_nodes[source] for source, _, _ in self.edge_types.values()}
        sizes = {"user": self.num_users, self.item_type: self.num_items, **sources}
        self.nodes = nn.ParameterDict({node_key(kind): torch.empty(size, dim) for kind, size in sizes.items()})
        for table in self.nodes.values():
            nn.init.normal_(table, std=0.1)
        self.bias = nn.ParameterDict({node_key(kind): torch.zeros(dim) for kind in ("user", self.item_type)})
        self.attentions = nn.ModuleDict({key: SCORINGS[scoring](dim, heads) for key in self.edge_types})

    def encode(self, views: Views) -> Embeddings:
        """Attend once for all users and items."""
        found = views.derive(self.relations)
        return Embeddings(*(self._hear(kind, found) for kind in ("user", self.item_type)))

    def encode_for(self, views: Views, batch: PairBatch) -> Embeddings:
        """Attend for the batch's users and items alone; other rows are NaN, so that nobody reads them unnoticed."""
        found, item = views.derive(self.relations), torch.cat([batch.item, batch.negative.flatten()])
        return Embeddings(self._hear_some("user", found, batch.user), self._hear_some(self.item_type, found, item))

    def encode_weighed(self, views: Views, weight: Mapping[EdgeType, Tensor]) -> Embeddings:
        """The state when what edges pass on, in both directions, is multiplied by their weights (E,).

        Attention stays as it is. Gradients reach the weights.

        Args:
            views: the graph.
            weight: by edge type out of users, `rates` for all domains, or items: in the order of `views.train`, or of
                the graph's `edge_index`. Ones for those left out.
        """
        found = views.derive(self.relations)
        ordered = in_target_order(views, found, weight)
        parts = {kind: [self.bias[node_key(kind)]] for kind in ("user", self.item_type)}
        for edge_type, attention in self._listening():
            source, target, edges = (
                self.nodes[node_key(edge_type[0])],
                self.nodes[node_key(edge_type[2])],
                found[edge_type],
            )
            alpha = attention.coefficients(source, target, edges)
            if edge_type in ordered:
                alpha = alpha * ordered[edge_type][:, None]
            parts[edge_type[2]].append(mix(attention.lin_src(source), alpha, edges))
        return Embeddings(*(sum(tensors[1:], tensors[0]) for tensors in parts.values()))

    def attention(self, views: Views) -> list[dict[EdgeType, Tensor]]:
        """Coefficients (E, H) of the layer's relations, in the order of `Relation.target`."""
        found = views.derive(self.relations)
        return [
            {
                (source, name, target): attention.coefficients(
                    self.nodes[node_key(source)], self.nodes[node_key(target)], found[source, name, target]
                )
                for (source, name, target), attention in self._listening()
            }
        ]

    def contributions(self, views: Views, state: Embeddings, user: int, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each item of a user adds to the scores of items (K,): z_i . alpha_j W_src x_j of own item j.

        Returns:
            own: (n,) the user's items.
            value: (K, n) of each.
            rest: (K,), of the bias; value and rest add up to the scores.
        """
        own = views.train.col[int(views.train.crow[user]) : int(views.train.crow[user + 1])]
        rates = rated(self.edge_types.values(), self.item_type)
        domain = domain_of(views)[own] if len(rates) > 1 else torch.zeros_like(own)
        attentions, target = dict(self._listening()), self.nodes[node_key("user")][user][None]
        table = self.nodes[node_key(self.item_type)]
        passed = table.new_zeros(len(own), table.shape[1])
        for code, edge_type in enumerate(rates):
            place = (domain == code).nonzero()[:, 0]
            column = torch.arange(len(place), device=own.device)
            star = relation(CSR(own.new_tensor([0, len(place)]), column), len(place))
            attention, source = attentions[reverse(edge_type)], table[own[place]]
            alpha = attention.coefficients(source, target, star)
            message = attention.lin_src(source) * alpha.repeat_interleave(source.shape[1] // alpha.shape[1], 1)
            passed = passed.index_copy(0, place, message)
        vectors = self.items(state, item)
        return own, vectors @ passed.T, vectors @ self.bias[node_key("user")]

    def penalty(self, state: Embeddings, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings x that a batch touches, divided by B; a scalar."""
        items = torch.cat([item, negative.flatten()])
        touched = rows_at(self.nodes[node_key("user")], user), rows_at(self.nodes[node_key(self.item_type)], items)
        return torch.stack([part.square().sum() for part in touched]).sum() / (2 * len(user))

    def _listening(self) -> Iterator[tuple[EdgeType, Attention | AttentionV2]]:
        for key, edge_type in self.edge_types.items():
            yield edge_type, cast(Attention | AttentionV2, self.attentions[key])

    def _hear(self, kind: str, found: Mapping[EdgeType, Relation], chosen: Tensor | None = None) -> Tensor:
        """The z of all nodes of a type (n, D), or of the chosen ones (N,)."""
        table = self.nodes[node_key(kind)]
        target = table if chosen is None else rows_at(table, chosen)
        total: Tensor = self.bias[node_key(kind)].expand_as(target)
        for edge_type, attention in self._listening():
            if edge_type[2] == kind:
                edges = found[edge_type] if chosen is None else rows(found[edge_type], chosen)
                total = total + attention(
                    self.nodes[node_key(edge_type[0])], target, edges, self.dropout if self.training else 0.0
                )
        return total

    def _hear_some(self, kind: str, found: Mapping[EdgeType, Relation], wanted: Tensor) -> Tensor:
        """The z of a type (n, D) in which only the wanted rows count."""
        size = len(self.nodes[node_key(kind)])
        chosen = wanted.unique()  # type: ignore[no-untyped-call]
        if 4 * len(chosen) > 3 * size:  # picking out their edges would take what it saves
            return self._hear(kind, found)
        heard = self._hear(kind, found, chosen)
        return heard.new_full((size, heard.shape[1]), torch.nan).index_copy(0, chosen, heard)


def _into_pairs(schema: Schema) -> list[EdgeType]:
    """Edge types into users and items from nodes that exist, in the order of the schema."""
    both = []
    for source, name, target in schema.edge_types:
        if not name.startswith("rev_") and source != target:
            both += [(source, name, target), (target, f"rev_{name}", source)]
    return [kind for kind in both if kind[2] in ("user", schema.item_type) and schema.num_nodes[kind[0]]]
