"""The hybrid recommender written straight from its equations, and a synthetic world to run it in.

What `HybridRecommender` arranges to be computed once is computed here wherever the equations mention it: every position
of every history of a batch is encoded anew, with its overview and all its reviews, padded to the most there are, and
so are positives and negatives; each position gets its own value; a score is a function of a pair, which fuses the views
of both and makes the item's key; users are ranked for one by one. Both read the same parameters, by name, and share no
formula: this is the oracle of the tests, and the rival in `benchmarks/hybrid.py`.

Dropout and random hiding are left out: the caller says which entries are kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from recsys_lightning.batches import CSR, Entries, PairBatch, Text, Views
from recsys_lightning.data.history import histories
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.models.relations import node_key
from recsys_lightning.schema import EdgeType, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from recsys_lightning.models.hybrid import HybridRecommender

WEIGHT, TEMPERATURE = 0.1, 0.1
"""Of the contrastive loss."""
SLOPE = 0.2
"""Of leaky ReLUs below zero."""

# The recommender


def loss(model: HybridRecommender, views: Views, batch: PairBatch, kept: Tensor) -> Tensor:
    """BPR, and InfoNCE between the two views of users where there are two; a scalar.

    Args:
        model: whose parameters are read, and get the gradients.
        views: text, graph and histories.
        batch: users, positives (B,), and negatives (B, K).
        kept: (B, L) bool, entries of the histories without the positives that are not hidden.
    """
    entries = views.history.without(batch.user, batch.item)
    table = graph_items(model, views)
    by_view = user_views(model, views, table, entries, entries.mask & kept)
    positive = score(model, by_view, item_views(model, views, table, batch.item))
    copies = [view[:, None].expand(*batch.negative.shape, -1) for view in by_view]
    negative = score(model, copies, item_views(model, views, table, batch.negative))
    total = functional.softplus(negative - positive[:, None]).mean()
    if len(by_view) == 2:
        total = total + WEIGHT * info_nce(*by_view, batch.user)
    return total


def info_nce(left: Tensor, right: Tensor, user: Tensor) -> Tensor:
    """Symmetric InfoNCE of (B, D) and (B, D); another row of the same user is no negative."""
    left, right = left / left.norm(dim=1, keepdim=True), right / right.norm(dim=1, keepdim=True)
    size = len(user)
    other = torch.eye(size, dtype=torch.bool, device=user.device) | (user[:, None] != user[None, :])
    similar = torch.exp(left @ right.T / TEMPERATURE) * other
    own = similar.diagonal()
    return -(torch.log(own / similar.sum(1)) + torch.log(own / similar.sum(0))).sum() / (2 * size)


def top_items(model: HybridRecommender, views: Views, seen: CSR, k: int) -> tuple[Tensor, Tensor]:
    """The k best unseen items of all users, and their scores: (U, k), (U, k).

    The views of items are made once. Then each user is copied beside every item, and the pairs are scored.
    """
    everything = torch.arange(views.num_items, device=views.device)
    table = graph_items(model, views)
    catalogue = item_views(model, views, table, everything)
    lists = []
    for user in range(views.num_users):
        entries = views.history.of(torch.tensor([user], device=views.device))
        by_view = user_views(model, views, table, entries, entries.mask)
        scores = score(model, [view.repeat(views.num_items, 1) for view in by_view], catalogue)
        scores[seen.col[seen.crow[user] : seen.crow[user + 1]]] = -torch.inf
        lists.append(scores.topk(k))
    item, value = torch.stack([best.indices for best in lists]), torch.stack([best.values for best in lists])
    return item.masked_fill(value == -torch.inf, -1), value


def user_views(
    model: HybridRecommender, views: Views, table: Tensor | None, entries: Entries, mask: Tensor
) -> list[Tensor]:
    """The views (B, D) of users, text first, of their entries where the mask is True."""
    found = []
    if has(model, "text"):
        found.append(attended(model.text_history, written(model, views, entries.item), entries, mask))
    if table is not None:
        own = functional.pad(table, (0, 0, 0, 1))[entries.item]
        found.append(attended(model.graph_history, own, entries, mask))
    return found


def item_views(model: HybridRecommender, views: Views, table: Tensor | None, item: Tensor) -> list[Tensor]:
    """The views (..., D) of items (...), text first."""
    found = [written(model, views, item)] if has(model, "text") else []
    return found if table is None else [*found, table[item]]


def fused(model: HybridRecommender, name: str, by_view: list[Tensor]) -> Tensor:
    """Views (..., D) as one: alpha text + (1 - alpha) graph where there are two."""
    if len(by_view) == 1:
        return by_view[0]
    text, graph = by_view
    fusion = getattr(model, name)
    alpha = torch.sigmoid(fusion.score(torch.tanh(fusion.hidden(torch.cat([text, graph], -1)))))
    return alpha * text + (1 - alpha) * graph


def has(module: Any, name: str) -> bool:
    """Whether a module has such a part."""
    return isinstance(getattr(module, name, None), Tensor | torch.nn.Module)


def score(model: HybridRecommender, user: list[Tensor], item: list[Tensor]) -> Tensor:
    """Scores of pairs by their views (..., D): (...)."""
    u, i = fused(model, "user_fusion", user), fused(model, "item_fusion", item)
    scorer: Any = model.scorer
    if has(scorer, "key"):  # mlp: attention of a user over one item is a linear map of the item
        hidden = torch.relu(scorer.first(scorer.key(i) * u))
        return scorer.last(torch.relu(scorer.second(hidden))).squeeze(-1)
    if has(scorer, "weight"):  # bilinear
        i = scorer.weight(i)
    return (u * i).sum(-1) / math.sqrt(u.shape[-1])


# The text view


class Padded(NamedTuple):
    """Text vectors as dense tables, with a row of nothing for padding."""

    overview: Tensor  # (I + 1, D)
    known: Tensor  # (I + 1,)
    review: Tensor  # (I + 1, R, D)
    mask: Tensor  # (I + 1, R)


def padded(views: Views) -> Padded:
    """The tables of a data set."""
    text = views.text
    most = int(text.num_reviews.max())
    mask = functional.pad(torch.arange(most, device=views.device) < text.num_reviews[:, None], (0, 0, 0, 1))
    review = text.review.new_zeros(*mask.shape, text.review.shape[1])
    review[mask] = text.review
    return Padded(functional.pad(text.overview, (0, 0, 0, 1)), functional.pad(text.known, (0, 1)), review, mask)


def written(model: HybridRecommender, views: Views, item: Tensor) -> Tensor:
    """What is written about items (...), as (..., D)."""
    encoder: Any = model.text
    text = views.derive(padded)
    overview, known = encoder.project(text.overview[item]), text.known[item]
    if text.mask.shape[1] == 0:
        return encoder.norm(overview)
    review, mask = encoder.project(text.review[item]), text.mask[item]
    logits = encoder.reviews.score(torch.relu(encoder.reviews.hidden(review))).squeeze(-1)
    heard = (softmax(logits, mask)[..., None, :] @ review).squeeze(-2)
    alpha = torch.sigmoid(encoder.gate(torch.cat([overview, heard], -1))).squeeze(-1)
    alpha = torch.where(mask.any(-1), torch.where(known, alpha, 0.0), 1.0)[..., None]
    return encoder.norm(alpha * overview + (1 - alpha) * heard)


def softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Over the last dimension, of the entries where the mask is True; zeros where there are none."""
    logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    return logits.softmax(-1) * mask


# Histories


def attended(attention: Any, item: Tensor, entries: Entries, mask: Tensor) -> Tensor:
    """What the learned queries find in histories of items (B, L, D): (B, D)."""
    entry = item + attention.rating[entries.rating]
    if has(attention, "time"):
        entry = entry + attention.time[entries.time]
    batch, length, dim = entry.shape
    heads = len(attention.query)
    key = entry @ attention.query.T / math.sqrt(dim / heads)
    alpha = softmax(key.transpose(1, 2), mask[:, None])
    value = attention.value(entry).view(batch, length, heads, dim // heads)
    pooled = torch.einsum("bhl,blhc->bhc", alpha, value).flatten(1)
    return attention.norm(attention.out(pooled) if heads > 1 else pooled)


# The graph view


def graph_items(model: HybridRecommender, views: Views) -> Tensor | None:
    """All items (I, D) out of their attributes; None where the model has no such view."""
    if not has(model, "graph"):
        return None
    encoder: Any = model.graph
    graph = views.graph
    relations = [kind for kind in graph.edge_types if kind[0] != "user" and not kind[1].startswith("rev_")]
    own = encoder.norm.weight.new_zeros(views.num_items, len(encoder.norm.weight))
    if len(encoder.context):
        item_type = next(kind for kind in graph.node_types if "context" in graph[kind])
        columns = zip(encoder.context.values(), graph[item_type].context.T, strict=True)
        own = own + encoder.project(torch.cat([table[code] for table, code in columns], 1))
    if has(encoder, "item"):
        own = own + encoder.item * (views.popularity > 0)[:, None]
    heard = own
    for edge_type in relations:
        key = node_key(edge_type[2])
        to_attribute, nodes = graph[edge_type].edge_index, encoder.nodes[key]
        inward = convolution(encoder.inward[key], own, nodes, to_attribute)
        attribute = encoder.norm_attribute(functional.leaky_relu(nodes + inward, SLOPE))
        heard = heard + convolution(encoder.outward[key], attribute, own, to_attribute.flip(0))
    return encoder.norm(heard)


def convolution(attention: Any, source: Tensor, target: Tensor, edges: Tensor) -> Tensor:
    """A graph attention layer over edges (2, E): (n_s, D), (n_t, D) -> (n_t, D)."""
    heads, width = attention.att_src.shape[1:]
    x_source = attention.lin_src(source).view(-1, heads, width)
    x_target = attention.lin_dst(target).view(-1, heads, width)
    tail, head = edges
    logits = (x_source * attention.att_src).sum(-1)[tail] + (x_target * attention.att_dst).sum(-1)[head]
    logits = functional.leaky_relu(logits, SLOPE)
    index = head[:, None].expand(-1, heads)
    largest = logits.new_full((len(target), heads), -torch.inf).scatter_reduce(0, index, logits.detach(), "amax")
    weight = torch.exp(logits - largest[head])
    alpha = weight / weight.new_zeros(len(target), heads).index_add(0, head, weight)[head]
    return torch.zeros_like(x_target).index_add(0, head, x_source[tail] * alpha[..., None]).flatten(1)


# A synthetic world


class World(NamedTuple):
    """A data set."""

    schema: Schema
    views: Views
    known: CSR  # all rows, low ratings too: what is masked in rankings, and no negative


def world(
    width: int = 8,
    users: int = 40,
    items: int = 60,
    rows: int = 500,
    attributes: dict[str, tuple[int, int]] | None = None,
    reviewed: int = 20,
    most_reviews: int = 4,
    length: int = 6,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> World:
    """Random rows, long-tailed in users and items; positives are those rated 4 or 5.

    The last user has no rows, the last but one a single one; the last item has neither rows, attributes nor text.

    Args:
        width: of the text vectors.
        users: U.
        items: I.
        rows: at most.
        attributes: nodes and edges of each kind of attribute.
        reviewed: items with reviews; the first of them has no overview.
        most_reviews: R.
        length: L.
        dtype: of the text vectors.
        seed: of everything.
    """
    random = np.random.default_rng(seed)
    attributes = attributes or {"genre": (5, 90), "director": (30, 50)}
    interactions = _interactions(random, users, items, rows)
    pairs = [torch.from_numpy(np.asarray(side).astype(np.int64)) for side in (interactions.user, interactions.item)]
    known = _csr(*pairs, users)
    assert interactions.rating is not None
    good = torch.from_numpy(interactions.rating >= 4)
    train = _csr(pairs[0][good], pairs[1][good], users)
    context = torch.from_numpy(random.integers(0, 11, (items, 7)))
    edges = {kind: _edges(random, items, *sizes) for kind, sizes in attributes.items()}
    text = _text(random, items, width, reviewed, most_reviews, dtype)
    levels = np.arange(1, 6, dtype=np.float32)
    nodes = {"user": users, "movie": items, **{kind: size for kind, (size, _) in attributes.items()}}
    forward = [("user", "rates", "movie"), *(("movie", f"has_{kind}", kind) for kind in attributes)]
    schema = Schema(
        name="world",
        split="none",
        fingerprint=f"world-{seed}",
        item_type="movie",
        num_nodes=nodes,
        edge_types=tuple(edge for s, name, t in forward for edge in ((s, name, t), (t, f"rev_{name}", s))),
        rating_levels=5,
        time_buckets=16,
        history_length=length,
        context={f"column {column}": 11 for column in range(7)},
        text_width=width,
        max_reviews=most_reviews if reviewed else 0,
    )
    views = Views(
        train,
        items,
        build_graph=lambda: _graph(schema, torch.stack(pairs)[:, good], edges, context),
        build_history=lambda: histories(interactions, length, levels, 16),
        build_text=lambda: text,
    )
    return World(schema, views, known)


def _interactions(random: np.random.Generator, users: int, items: int, rows: int) -> Interactions:
    """Rows sorted by (user, item)."""
    sides = []
    for size, spread in ((users - 2, 1.0), (items - 1, 1.3)):
        weight = random.lognormal(sigma=spread, size=size)
        sides.append(random.choice(size, 8 * rows, p=weight / weight.sum()))
    coded = random.permutation(np.unique(sides[0] * items + sides[1]))[: rows - 1]
    coded = np.sort(np.append(coded, (users - 2) * items))
    rating = random.choice(np.arange(1, 6), len(coded), p=[0.06, 0.11, 0.28, 0.34, 0.21]).astype(np.float32)
    rating[-1] = 5
    return Interactions(
        user=(coded // items).astype(np.int32),
        item=(coded % items).astype(np.int32),
        user_ids=pa.array(map(str, range(users))),
        item_ids=pa.array(map(str, range(items))),
        rating=rating,
        timestamp=1_000_000_000 + 60 * random.integers(0, 300_000, len(coded)),
    )


def _edges(random: np.random.Generator, items: int, size: int, count: int) -> Tensor:
    """Edges (2, E) from items to the attributes of one kind, sorted; the last attribute and the last item have none."""
    weight = random.lognormal(sigma=1.0, size=size - 1)
    attribute = random.choice(size - 1, count, p=weight / weight.sum())
    coded = np.unique(random.integers(0, items - 1, count) * size + attribute)
    return torch.from_numpy(np.stack([coded // size, coded % size]))


def _text(random: np.random.Generator, items: int, width: int, reviewed: int, most: int, dtype: torch.dtype) -> Text:
    """Unit vectors, as sentence encoders give them."""
    count = np.zeros(items, np.int64)
    chosen = random.permutation(items - 1)[:reviewed]
    count[chosen] = random.integers(1, most + most // 3 + 1, reviewed).clip(max=most)
    vectors = torch.from_numpy(random.standard_normal((items + count.sum(), width)))
    vectors = functional.normalize(vectors, dim=1).to(dtype)
    known = torch.ones(items, dtype=torch.bool)
    known[-1] = False
    known[chosen[:1]] = False
    crow = torch.from_numpy(np.concatenate([[0], count.cumsum()]))
    return Text(vectors[:items] * known[:, None], known, vectors[items:], crow)


def _graph(schema: Schema, pairs: Tensor, edges: dict[str, Tensor], context: Tensor) -> HeteroData:
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    for kind, size in schema.num_nodes.items():
        graph[kind].num_nodes = size
    graph["movie"].context = context
    found: dict[EdgeType, Tensor] = {("user", "rates", "movie"): pairs}
    found.update({("movie", f"has_{kind}", kind): both for kind, both in edges.items()})
    for (source, name, target), both in found.items():
        graph[source, name, target].edge_index = both
        graph[target, f"rev_{name}", source].edge_index = both.flip(0)
    return graph


def _csr(row: Tensor, col: Tensor, size: int) -> CSR:
    """Sorted pairs as CSR."""
    crow = torch.zeros(size + 1, dtype=torch.long)
    crow[1:] = torch.bincount(row, minlength=size).cumsum(0)
    return CSR(crow, col)
