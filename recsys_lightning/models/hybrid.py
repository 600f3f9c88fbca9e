"""The hybrid recommender: what is written about items, and what the graph knows of them, as two views of one taste."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from recsys_lightning.batches import Entries, History, PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import scorers
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.history import (
    Tables,
    UserGraphHistoryEncoder,
    UserHistoryAttention,
    readings,
)
from recsys_lightning.models.item_graph import ItemGraphEncoder
from recsys_lightning.models.sparse import blocks, rows_at
from recsys_lightning.models.text import ItemTextEncoder, reviewed
from recsys_lightning.schema import Schema

Choice: TypeAlias = Literal["both", "text", "graph"]
Target: TypeAlias = Literal["left_out", "visible"]
Which: TypeAlias = Literal["all", "batch"]

ITEM_HEADS = 2
"""Heads of the attention between items and attributes."""


class Encoded(NamedTuple):
    """What scores are made of: of each view the items (I, D) and what histories read of them, text first."""

    history: History
    item: tuple[Tensor, ...]
    tables: tuple[Tables, ...]
    key: Tensor | None  # (I, D) of the scorer; None where only those asked for are made


class Fusion(nn.Module):
    """A weighted mean of two views: alpha text + (1 - alpha) graph, alpha = sigmoid(w . tanh(W [text; graph] + b) + c).

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * dim, dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, text: Tensor, graph: Tensor, gate: float | None = None) -> Tensor:
        """Two views (..., D) -> (..., D); alpha is `gate` where that is given."""
        alpha = self.alpha(text, graph) if gate is None else gate
        return alpha * text + (1 - alpha) * graph

    def alpha(self, text: Tensor, graph: Tensor) -> Tensor:
        """The share of the text: (..., D), (..., D) -> (..., 1)."""
        gate: Tensor = self.score(self.hidden(torch.cat([text, graph], -1)).tanh()).to(text.dtype)
        return gate.sigmoid()


class HybridRecommender(Recommender):
    """Users are what attention finds in their histories, in a text view and in a graph view of items.

        text view:   item by `ItemTextEncoder`,   user by `UserHistoryAttention`
        graph view:  item by `ItemGraphEncoder`,  user by `UserGraphHistoryEncoder`
        score = scorer(fusion(user_text, user_graph), fusion(item_text, item_graph))

    There is nothing that belongs to one user alone: a user without history is what all of them are, and a new one
    needs no training. The item to predict is left out of the history that predicts it.

    Each item is encoded once a step, and each history read once; only users of the batch are made.

    Args:
        schema: sizes of the data.
        views: `both`, or one of them alone, without fusion.
        dim: D, width of all vectors; None for the text's own, which is then not projected.
        scorer: `dot`, `bilinear` or `mlp`; see `models.scorers`.
        heads: of the attention over histories in the graph view, a divisor of dim.
        identity: whether items have an embedding of their own in the graph view; see `ItemGraphEncoder`.
        hide: chance of an entry of a history to be hidden in training, in both views at once, from 0 to less than 1.
        dropout: of the `mlp` scorer, from 0 to less than 1.
        target: `left_out`; or `visible`, which leaves the item to predict in the history. That is unsound, and there
            to measure what it does.
        items: `all`, or `batch` to encode the texts of only those items that a batch and its histories name: for
            catalogues much larger than a batch. The graph is always encoded as a whole.
        gate: replaces the fusions' alpha, the share of the text view, from 0 to 1: to measure a trained model.

    Raises:
        InputError: an argument is out of its range, or the data lack what a view reads.
    """

    reads_history = True

    def __init__(
        self,
        schema: Schema,
        views: Choice = "both",
        dim: int | None = 64,
        scorer: scorers.Name = "mlp",
        heads: int = 4,
        identity: bool = False,
        hide: float = 0.1,
        dropout: float = 0.2,
        target: Target = "left_out",
        items: Which = "all",
        gate: float | None = None,
    ) -> None:
        super().__init__(schema)
        _refuse_unknown(views=(views, Choice), scorer=(scorer, scorers.Name))
        _refuse_unknown(target=(target, Target), items=(items, Which))
        self.reads_text, self.reads_graph, self.has_two_views = views != "graph", views != "text", views == "both"
        if not schema.text_width and (self.reads_text or dim is None):
            raise InputError(
                "HybridRecommender reads vectors of texts, and the data were prepared without. Say in data.text how "
                "texts become vectors, or set model.recommender.views graph, with a number for dim."
            )
        dim = schema.text_width if dim is None else dim
        _refuse_out_of_range(views, dim, heads, identity, hide, dropout, gate)
        self.dim, self.hide, self.target, self.encoded, self.gate = dim, hide, target, items, gate
        levels = schema.rating_levels
        self.text = self.text_history = self.graph = self.graph_history = None
        if self.reads_text:
            self.text = ItemTextEncoder(schema.text_width, schema.max_reviews, dim)
            self.text_history = UserHistoryAttention(dim, levels)
        if self.reads_graph:
            self.graph = ItemGraphEncoder(schema, dim, ITEM_HEADS, identity)
            self.graph_history = UserGraphHistoryEncoder(dim, levels, schema.time_buckets, heads)
        self.item_fusion = Fusion(dim) if views == "both" else None
        self.user_fusion = Fusion(dim) if views == "both" else None
        self.scorer = scorers.scorer(scorer, dim, dropout)

    # What is encoded

    def encode(self, views: Views) -> Encoded:
        """All items, with their keys."""
        state = self._encoded(views, None)
        return state._replace(key=self._keys(state.item))

    def encode_for(self, views: Views, batch: PairBatch) -> Encoded:
        """What the batch and its histories need: texts of their items alone, with `items` batch, others being NaN.

        Keys are made of the batch's items where these are fewer than all.

        Raises:
            InputError: the gate is a constant, and the model is in training.
        """
        if self.gate is not None and self.training:
            raise InputError(
                f"model.recommender.gate is {self.gate}: a constant gate measures a trained model, and trains none. "
                "Leave it out to train."
            )
        if self.encoded == "batch" and self.text is not None:
            return self._encoded(views, _distinct(views, batch))
        if len(batch.item) + batch.negative.numel() < self.num_items:
            return self._encoded(views, None)
        return self.encode(views)

    def _encoded(self, views: Views, chosen: Tensor | None) -> Encoded:
        """Without keys; of the texts, of chosen items alone."""
        item: list[Tensor] = []
        tables: list[Tables] = []
        length = views.history.mask.shape[1] - 1
        if self.text is not None and self.text_history is not None:
            found = views.derive(reviewed) if chosen is None and self.text.reviews is not None else None
            vectors = self.text(views.text, chosen, found)
            read = self.text_history.tables(vectors, length)
            if chosen is not None:
                ends = torch.cat([chosen, torch.arange(length, device=chosen.device) + self.num_items])
                vectors = _spread(vectors, chosen, self.num_items)
                read = Tables(*(_spread(table, ends, self.num_items + length) for table in read))
            item.append(vectors)
            tables.append(read)
        if self.graph is not None and self.graph_history is not None:
            vectors = self.graph(views)
            item.append(vectors)
            tables.append(self.graph_history.tables(vectors, length))
        return Encoded(views.history, tuple(item), tuple(tables), None)

    def _keys(self, item: tuple[Tensor, ...]) -> Tensor:
        """Views of items, (..., D) each -> keys (..., D)."""
        fused = item[0] if self.item_fusion is None else self.item_fusion(*item, self.gate)
        return self.scorer.keys(fused)

    # Users and items

    def users(self, state: Encoded, user: Tensor) -> Tensor:
        """Both views side by side, (B,) -> (B, 2 D), or the only one, (B, D)."""
        entries = state.history.of(user)
        return self._users(state, entries, entries.mask)

    def users_without(self, state: Encoded, user: Tensor, item: Tensor) -> Tensor:
        """The same, by histories without the item (B,); in training, with other entries hidden at random."""
        history = state.history
        entries = history.without(user, item) if self.target == "left_out" else history.of(user)
        mask = entries.mask
        if self.training and self.hide:
            mask = mask & (torch.rand(mask.shape, device=mask.device) >= self.hide)
        return self._users(state, entries, mask)

    def items(self, state: Encoded, item: Tensor | None = None) -> Tensor:
        """The scorer's keys of items: (...) -> (..., D), or of all items (I, D)."""
        if state.key is not None:
            return state.key if item is None else rows_at(state.key, item)
        return self._keys(state.item if item is None else tuple(rows_at(vectors, item) for vectors in state.item))

    def _users(self, state: Encoded, entries: Entries, mask: Tensor) -> Tensor:
        found = readings(entries.item, self.num_items)
        readers = (reader for reader in (self.text_history, self.graph_history) if reader is not None)
        return torch.cat(
            [reader(tables, entries, mask, found) for reader, tables in zip(readers, state.tables, strict=True)], 1
        )

    # Scores

    def score(self, u: Tensor, i: Tensor) -> Tensor:
        """Users, with views side by side, and keys in pairs -> (...); leading dimensions broadcast."""
        return self.scorer.score(self._fused(u), i)

    def cross(self, u: Tensor, i: Tensor) -> Tensor:
        """Every user with every key: (B, 2 D) or (B, D), (N, D) -> (B, N)."""
        return self.scorer.cross(self._fused(u), i)

    def two_views(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Text view and graph view of users (..., 2 D): (..., D) each."""
        return u[..., : self.dim], u[..., self.dim :]

    def _fused(self, u: Tensor) -> Tensor:
        """What is scored of users: (..., 2 D) or (..., D) -> (..., D)."""
        return u if self.user_fusion is None else self.user_fusion(*self.two_views(u), self.gate)

    def penalty(self, state: Encoded, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the items' own embeddings that a batch touches, divided by B; a scalar."""
        if self.graph is None or self.graph.item is None:
            return super().penalty(state, user, item, negative)
        return rows_at(self.graph.item, torch.cat([item, negative.flatten()])).square().sum() / (2 * len(user))

    @torch.no_grad()
    def gates(self, views: Views) -> dict[str, Tensor]:
        """How much counts what, for reports: each alpha that there is.

        Returns:
            `review`, (I,) the share of the overview beside the reviews; `item`, (I,), and `user`, (U,), the share of
            the text view beside the graph view.
        """
        found = {}
        if self.text is not None and self.text.gate is not None:
            found["review"] = self.text.gates(views.text)
        if self.item_fusion is not None and self.user_fusion is not None:
            state = self.encode(views)
            found["item"] = self.item_fusion.alpha(*state.item).squeeze(1)
            users = (self.users(state, user) for user in blocks(self.num_users, 1024, views.device))
            found["user"] = torch.cat([self.user_fusion.alpha(u[:, : self.dim], u[:, self.dim :]) for u in users])[:, 0]
        return found


def _distinct(views: Views, batch: PairBatch) -> Tensor:
    """Items that a batch names and those of its users' histories, each once."""
    read = views.history.item[batch.user].flatten()
    named: Tensor = torch.cat([read, batch.item, batch.negative.flatten()]).unique()  # type: ignore[no-untyped-call]
    return named[named < views.num_items]


def _spread(rows: Tensor, place: Tensor, size: int) -> Tensor:
    """Rows (n, D) at their places (n,) among NaN: (size, D)."""
    return rows.new_full((size, rows.shape[1]), torch.nan).index_copy(0, place, rows)


def _refuse_unknown(**chosen: tuple[str, object]) -> None:
    for name, (value, kind) in chosen.items():
        if value not in get_args(kind):
            raise InputError(f"HybridRecommender knows as {name} {', '.join(get_args(kind))}, and was given {value!r}.")


def _refuse_out_of_range(
    views: Choice, dim: int, heads: int, identity: bool, hide: float, dropout: float, gate: float | None
) -> None:
    if dim < 1 or not 0 <= hide < 1 or not 0 <= dropout < 1:
        raise InputError(
            f"HybridRecommender needs a dim of at least 1, and hide and dropout from 0 to less than 1, and was given "
            f"dim {dim}, hide {hide} and dropout {dropout}."
        )
    if views != "text" and (heads < 1 or dim % heads or dim % ITEM_HEADS):
        raise InputError(
            f"HybridRecommender with a graph view needs an even dim that heads divides, and was given dim {dim} and "
            f"heads {heads}."
        )
    if identity and views == "text":
        raise InputError("HybridRecommender has identities of items in its graph view only. Leave identity out.")
    if gate is not None and (views != "both" or not 0 <= gate <= 1):
        raise InputError(
            f"HybridRecommender takes a gate from 0 to 1, between two views, and was given {gate} with views {views}."
        )
