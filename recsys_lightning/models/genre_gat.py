"""GenreGAT: attention that starts as LightGCN and may leave it, and attribute terms that are parts of the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.attribute_term import CAP, AttributeTerm, Gate
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.footprint import Footprint
from recsys_lightning.models.listening import Scoring
from recsys_lightning.models.messages import Messages, Nodes, some_rows
from recsys_lightning.models.neighbours import sample
from recsys_lightning.models.profiles import Own, Profile, ancestors, interactions, own_items, profile
from recsys_lightning.models.relations import in_row_order, in_target_order, node_key, num_edges, relations
from recsys_lightning.models.sparse import pool, rows_at
from recsys_lightning.schema import EdgeType, Schema


class Encoded(NamedTuple):
    """What scores are made of. Rows are those of `user_id` and `item_id`, ascending; where these are None, of all."""

    user: Tensor  # (u, D), z
    taste: Tensor  # (u, K, D), q of each kind
    weight: Tensor  # (u, K), w of each kind
    item: Tensor  # (i, D (1 + K)), z and v of each kind, side by side
    own: Own
    profiles: Mapping[str, Profile]
    values: Nodes  # (values, D) embeddings of each kind
    user_id: Tensor | None
    item_id: Tensor | None


class GenreGAT(Recommender):
    """LightGCN on a typed graph, with attention as a learned residual, and attribute terms that add up to the score.

        score = z_user . z_item  +  sum over kinds k of attributes  w_k(user) q_k(user) T_k . v_k(item)

    z is what `Messages` make of the embeddings: what users and items tell one another, and what comes through genres,
    directors and other attributes. The shares of the latter, T and the attention scores are zero at the start, where
    the model is LightGCN, or with several domains the sum of the LightGCN of each: it leaves that only where training
    says so, by attention of its own for each domain. v_k is the mean embedding of an item's values,
    q_k the mean of v_k over the user's own items, from which a training pair's item is left out; see `AttributeTerm`.

    A value's embedding is the sum of its own and its ancestors' where the graph has a hierarchy. Features of items are
    projected and added to x_item^0. Users and items without visible interactions have no embedding of their own, but
    what attributes and features say.

    Sources: Velickovic et al., ICLR 2018, arXiv 1710.10903, and Brody et al., ICLR 2022, arXiv 2105.14491, for the
    attention; He et al., SIGIR 2020, arXiv 2002.02126, for what it starts from.

    Args:
        schema: sizes of the data and edge types of the graph.
        dim: D, width of the embeddings.
        heads: H, a divisor of dim.
        layers: of message passing, from 0.
        attention: `gat`, `gatv2`, or `none` for fixed coefficients.
        gate: how the weight of attribute terms depends on the user: `fixed`, `adaptive` or `learned`.
        genre_weight: base weight of the attribute terms, above 0 and below 0.5.
        dropout: chance of an attention coefficient to be left out in training, from 0 to less than 1.
        fan_out: neighbours that a training step draws for each node and relation, one number a layer, those of the
            batch first; -1 for all of them. None for message passing over the whole graph.

    Raises:
        InputError: an argument is out of its range.
    """

    reads_graph = True

    def __init__(
        self,
        schema: Schema,
        dim: int = 64,
        heads: int = 4,
        layers: int = 2,
        attention: Scoring = "gat",
        gate: Gate = "fixed",
        genre_weight: float = 0.1,
        dropout: float = 0.1,
        fan_out: Sequence[int] | None = None,
    ) -> None:
        super().__init__(schema)
        if dim < 1 or heads < 1 or dim % heads:
            raise InputError(f"GenreGAT needs a dim that heads divides, and was given dim {dim} and heads {heads}.")
        if layers < 0 or not 0 <= dropout < 1 or not 0 < genre_weight < CAP:
            raise InputError(
                f"GenreGAT needs layers from 0, a dropout from 0 to less than 1 and a genre_weight between 0 and "
                f"{CAP}, and was given {layers}, {dropout} and {genre_weight}."
            )
        if attention not in get_args(Scoring) or gate not in get_args(Gate):
            raise InputError(
                f"GenreGAT knows the attentions {', '.join(get_args(Scoring))} and the gates "
                f"{', '.join(get_args(Gate))}, and was given {attention!r} and {gate!r}."
            )
        if fan_out is not None and (len(fan_out) != layers or any(size < 1 and size != -1 for size in fan_out)):
            raise InputError(
                f"GenreGAT needs a fan_out for each of its {layers} layers, from 1 or -1 for all neighbours, and was "
                f"given {list(fan_out)}."
            )
        self.item_type = schema.item_type
        self.dim = dim
        self.layers = layers
        self.fan_out = fan_out
        passing = [kind for kind in schema.edge_types if kind[0] != kind[2]]
        has = {kind: (item, name, kind) for item, name, kind in passing if item == self.item_type and kind != "user"}
        self.kinds = tuple(has)
        tables = {kind: torch.empty(schema.num_nodes[kind], dim) for kind in ("user", self.item_type, *self.kinds)}
        self.nodes = nn.ParameterDict({node_key(kind): table for kind, table in tables.items()})
        for table in self.nodes.values():
            nn.init.normal_(table, std=0.1)
        self.features = nn.Linear(schema.num_features, dim, bias=False) if schema.num_features else None
        if self.features is not None:
            nn.init.zeros_(self.features.weight)
        self.messages = Messages(schema, dim, heads, layers, attention, dropout)
        terms = {node_key(kind): AttributeTerm(dim, gate, genre_weight) for kind in self.kinds}
        self.terms_of = nn.ModuleDict(terms)
        weighted = interactions(schema)
        self.relations = relations(schema)
        self.own = own_items(weighted)
        self.profiles = {kind: profile(has[kind], schema.num_nodes[kind], weighted) for kind in self.kinds}
        self.ancestors = {
            kind: ancestors((kind, name, kind), schema.num_nodes[kind])
            for kind, name, parent in schema.edge_types
            if kind == parent
        }

    def estimate_memory(self, views: Views, batch_size: int) -> dict[str, int]:
        """Bytes of `parameters` with gradients and Adam's moments, of the `graph`, of `activations`, and in `total`.

        A fan-out bounds what messages take of the activations. The data set, and what a loss makes of negatives that
        a batch shares, come on top.
        """
        edges = num_edges(views, self.messages.edge_types.values(), self.item_type)
        nodes = {kind: len(self.nodes[node_key(kind)]) for kind in (*self.messages.pair, *self.kinds)}
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return Footprint.of(self.messages, self.dim, nodes, edges, self.fan_out, parameters).parts(batch_size)

    # Message passing

    def encode(self, views: Views) -> Encoded:
        """Pass messages over the whole graph."""
        x = self._inputs(views)
        return self._encoded(views, x, self.messages(x, views.derive(self.relations), {}), None, None)

    def encode_for(self, views: Views, batch: PairBatch) -> Encoded:
        """Pass messages to these users and items: the last layer serves no others, and with a fan-out all are sampled.

        Where they are most of all users or items, the last layer serves all of these.
        """
        x, found = self._inputs(views), views.derive(self.relations)
        user, item = batch.user, torch.cat([batch.item, batch.negative.flatten()])
        if self.fan_out is not None:
            users, items = user.unique(), item.unique()  # type: ignore[no-untyped-call]
            seeds = {"user": users, self.item_type: items}
            blocks = sample(found, seeds, self.fan_out)
            return self._encoded(views, x, self.messages.sampled(x, blocks, seeds), users, items)
        users, items = _few(user, self.num_users), _few(item, self.num_items)
        return self._encoded(views, x, self.messages(x, found, {"user": users, self.item_type: items}), users, items)

    def encode_weighed(self, views: Views, weight: Mapping[EdgeType, Tensor]) -> Encoded:
        """The state when what edges pass on, in both directions, is multiplied by their weights (E,).

        Attention, and how much users weigh each term, stay as they are. Gradients reach the weights.

        Args:
            views: the graph.
            weight: by edge type out of users, `rates` for all domains, or items: in the order of `views.train`, or of
                the graph's `edge_index`. Ones for those left out.
        """
        x, found = self._inputs(views), views.derive(self.relations)
        factors = in_target_order(views, found, weight)
        alphas = [
            {kind: alpha * factors[kind][:, None] if kind in factors else alpha for kind, alpha in layer.items()}
            for layer in self.messages.coefficients(x, found)
        ]
        rows = next((given for kind, given in weight.items() if kind[0] == "user"), None)
        return self._encoded(views, x, self.messages.replay(x, found, alphas)[0], None, None, factors, rows)

    def attention(self, views: Views) -> list[dict[EdgeType, Tensor]]:
        """Coefficients (E, H) of each layer, shares g included, in the order of `Relation.target`; none for `none`."""
        if self.messages.attention == "none":
            return []
        return self.messages.coefficients(self._inputs(views), views.derive(self.relations))

    def _inputs(self, views: Views) -> dict[str, Tensor]:
        """x^0 of all nodes, (n, D)."""
        x = {kind: self.nodes[node_key(kind)] for kind in ("user", self.item_type, *self.kinds)}
        for kind, degree in (("user", views.train.degree), (self.item_type, views.popularity)):
            x[kind] = x[kind] * (degree > 0)[:, None]
        if self.features is not None:
            x[self.item_type] = x[self.item_type] + self.features(
                views.graph[self.item_type].x.to(self.features.weight)
            )
        for kind, above in self.ancestors.items():
            x[kind] = pool(views.derive(above), x[kind])
        return x

    def _encoded(
        self,
        views: Views,
        x: Nodes,
        z: Nodes,
        user: Tensor | None,
        item: Tensor | None,
        factors: Mapping[EdgeType, Tensor] | None = None,
        factor: Tensor | None = None,
    ) -> Encoded:
        """What z and the nodes make; `factors` weigh edges as in `encode_weighed`, and `factor` the users' rows."""
        factors = factors or {}
        own, profiles = views.derive(self.own), {kind: views.derive(self.profiles[kind]) for kind in self.kinds}
        means = [found.mean(x[kind], factors.get(found.heard)) for kind, found in profiles.items()]
        tastes = [own.mean(mean, user, factor) for mean in means]
        activity = some_rows(own.activity, user)
        weights = [
            self._term(kind).weight(activity, some_rows(found.diversity, user)) for kind, found in profiles.items()
        ]
        nothing = z["user"].new_zeros(len(z["user"]), 0)
        return Encoded(
            user=z["user"],
            taste=torch.stack(tastes, 1) if tastes else nothing[..., None].expand(-1, -1, self.dim),
            weight=torch.stack(weights, 1).to(nothing) if weights else nothing,
            item=torch.cat([z[self.item_type], *(some_rows(mean, item) for mean in means)], 1),
            own=own,
            profiles=profiles,
            values={kind: x[kind] for kind in self.kinds},
            user_id=user,
            item_id=item,
        )

    # What is scored

    def users(self, state: Encoded, user: Tensor) -> Tensor:
        """Both z and w q T of each kind, side by side: (B,) -> (B, D (1 + K))."""
        at = _locate(state.user_id, user)
        return self._side(state, at, rows_at(state.taste, at))

    def users_without(self, state: Encoded, user: Tensor, item: Tensor) -> Tensor:
        """The same, with q the mean over the user's items but one: (B,), (B,) -> (B, D (1 + K))."""
        at = _locate(state.user_id, user)
        taste, mean = rows_at(state.taste, at), _split(self.items(state, item)[:, self.dim :], self.dim)
        weight, total = (part[:, None, None].to(taste) for part in state.own.weights(user, item))
        left = total - weight
        others = (total * taste - weight * mean) / torch.where(left > 1e-6, left, 1.0)
        return self._side(state, at, others * (left > 1e-6))

    def items(self, state: Encoded, item: Tensor | None = None) -> Tensor:
        """Both z and v of each kind, side by side: (...) -> (..., D (1 + K)), or of all items (I, D (1 + K))."""
        return state.item if item is None else rows_at(state.item, _locate(state.item_id, item))

    def terms(self, state: Encoded, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """`base`, and the term of each kind: (B,), (B,) -> (B,) each."""
        products = self.users(state, user) * self.items(state, item)
        parts = _split(products, self.dim).sum(-1)
        return dict(zip(("base", *self.kinds), parts.T, strict=True))

    def penalty(self, state: Encoded, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of what is free in a batch's scores, per positive; a scalar.

        That is the embeddings of its users and items, v of its items and w q T of its users, divided by B; and the
        attention vectors, undivided, as every score hangs on them. Each is a way to remember the train rows, and would
        be taken where the others alone are held small.
        """
        items = torch.cat([item, negative.flatten()])
        free = (
            rows_at(self.nodes["user"], user),
            rows_at(self.nodes[node_key(self.item_type)], items),
            self.items(state, items)[:, self.dim :],
            self.users(state, user)[:, self.dim :],
        )
        return torch.stack([part.square().sum() for part in free]).sum() / (2 * len(user)) + self.messages.penalty()

    def _side(self, state: Encoded, at: Tensor, taste: Tensor) -> Tensor:
        weight = rows_at(state.weight, at)
        parts = [self._term(kind)(taste[:, column], weight[:, column]) for column, kind in enumerate(self.kinds)]
        return torch.cat([rows_at(state.user, at), *parts], 1)

    def _term(self, kind: str) -> AttributeTerm:
        return cast(AttributeTerm, self.terms_of[node_key(kind)])

    # What explains a score

    def contributions(self, views: Views, state: Encoded, user: int, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each item of a user adds to the scores of items (K,), through what the user hears and through q.

        Returns:
            own: (n,) the user's items.
            value: (K, n) of each.
            rest: (K,), of the user's own embedding; value and rest add up to the scores.
        """
        span = slice(int(views.train.crow[user]), int(views.train.crow[user + 1]))
        own = views.train.col[span]
        x, found = self._inputs(views), views.derive(self.relations)
        alphas = self.messages.coefficients(x, found)
        layers = self.messages.replay(x, found, alphas)[1]
        message = torch.zeros(len(own), self.dim, device=item.device)
        for passed, alpha in zip(layers, alphas, strict=False):
            heard = [each for kind, each in alpha.items() if (kind[0], kind[2]) == (self.item_type, "user")]
            share = in_row_order(views, heard)[span]
            message = message + passed[self.item_type][own] * share.repeat_interleave(self.dim // share.shape[1], 1)
        index = torch.full_like(own, user)
        weight, total = state.own.weights(index, own)
        side = self._side(state, index, _split(self.items(state, own)[:, self.dim :], self.dim))
        terms = side[:, self.dim :] * (weight / total)[:, None]
        vectors = self.items(state, item)
        value = vectors @ torch.cat([message / (self.layers + 1), terms], 1).T
        rest = vectors[:, : self.dim] @ layers[0]["user"][user] / (self.layers + 1)
        return own, value, rest

    def influences(
        self, state: Encoded, user: Tensor, item: Tensor
    ) -> dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """What the term of each kind is made of, for pairs (B,), (B,).

        Returns:
            by kind: the affinity (B, values) of the user, shares of the values in the own items; the strength
            (B, values) in the item, 1 / number of its values; the contribution (B, values) of each value, which add up
            to the term; and the weight w (B,).
        """
        side = _split(self.users(state, user), self.dim)
        found = {}
        for column, (kind, of_kind) in enumerate(state.profiles.items()):
            strength = of_kind.strengths(item)
            contribution = strength * (side[:, 1 + column] @ state.values[kind].T)
            weight = state.weight[_locate(state.user_id, user), column]
            found[kind] = (of_kind.affinities(state.own, user), strength, contribution, weight)
        return found


def _few(index: Tensor, size: int) -> Tensor | None:
    """The distinct indices, ascending; None where they are more than half of all, as picking them would save little."""
    distinct: Tensor = index.unique()  # type: ignore[no-untyped-call]
    return distinct if 2 * len(distinct) < size else None


def _split(vectors: Tensor, dim: int) -> Tensor:
    """(n, k D) -> (n, k, D)."""
    return vectors.view(len(vectors), vectors.shape[1] // dim, dim)


def _locate(ids: Tensor | None, index: Tensor) -> Tensor:
    """Rows of indices in a state that holds those of `ids`; past its end for others, so that reading them fails."""
    if ids is None:
        return index
    at = torch.searchsorted(ids, index)
    return torch.where(ids[at.clamp(max=len(ids) - 1)] == index, at, len(ids))
