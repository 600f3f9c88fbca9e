"""Tensors of indices into the plain values of an explanation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.explain.edges import own_edges
from recsys_lightning.explain.explainers import Effects
from recsys_lightning.explain.explanation import Attention, Effect, Influence, Share


def effects(
    found: Effects, row: int, views: Views, catalogue: Catalogue, user: int, item: int
) -> tuple[tuple[Effect, ...], float | None]:
    """The effects on one item, largest first, and the rest. Edges of other items count to the rest.

    Args:
        found: effects on K items.
        row: which of them.
        views: what the edges' positions refer to.
        catalogue: names.
        user: whose score it is.
        item: that the row is about.
    """
    named, others = [], 0.0
    by_type = torch.split(found.values, [*map(len, found.edges.values())], dim=1)
    for ((source, relation, target), position), values in zip(found.edges.items(), by_type, strict=True):
        own = values[row].tolist()
        if source == "user":
            for index, value in zip(views.train.col[position].tolist(), own, strict=True):
                raw, title = catalogue.items[index], catalogue.titles[index]
                named.append(Effect(relation, catalogue.users[user], raw, title, value))
            continue
        ends = views.graph[source, relation, target].edge_index[:, position].T.tolist()
        for (start, end), value in zip(ends, own, strict=True):
            if start == item:
                name = catalogue.value(target, end)
                named.append(Effect(relation, catalogue.items[item], name, name, value))
            else:
                others += value
    rest = None if found.rest is None else float(found.rest[row]) + others
    return tuple(sorted(named, key=lambda effect: -effect.value)), rest


def read(found: Effects) -> Effects:
    """The effects without those of attributes that do nothing for any item: the model does not read them."""
    by_type = torch.split(found.values, [*map(len, found.edges.values())], dim=1)
    kept = [
        edge_type[0] == "user" or bool(values.any()) for edge_type, values in zip(found.edges, by_type, strict=True)
    ]
    edges = dict(itertools.compress(found.edges.items(), kept))
    return Effects(edges, torch.cat([*itertools.compress(by_type, kept)], 1), found.rest)


def attention(layers: Sequence[Tensor], views: Views, catalogue: Catalogue, user: int) -> tuple[Attention, ...]:
    """What a user attends to, largest first.

    Args:
        layers: attention (E, heads) of each layer, in the order of `views.train`.
        views: whose rows they are.
        catalogue: names.
        user: index.
    """
    own = own_edges(views, user)
    if not layers or not len(own):
        return ()
    shares = [layer[own].double() for layer in layers]
    shares = [share / share.sum(0).clamp(min=torch.finfo(share.dtype).tiny) for share in shares]
    weight = torch.stack([share.mean(1) for share in shares]).mean(0).tolist()
    heads = shares[-1].tolist()
    items = views.train.col[own].tolist()
    return tuple(
        Attention(catalogue.items[items[at]], catalogue.titles[items[at]], weight[at], tuple(heads[at]))
        for at in sorted(range(len(items)), key=lambda at: -weight[at])
    )


def influences(
    found: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]], name: Callable[[str, int], str]
) -> list[dict[str, Influence]]:
    """What the attributes of each kind contribute, for each of B pairs.

    Args:
        found: by kind, affinity (B, G), strength (B, G), contribution (B, G) and weight (B,).
        name: of a kind's value.
    """
    pairs: list[dict[str, Influence]] = [{} for _ in range(len(next(iter(found.values()))[3]) if found else 0)]
    for kind, (affinity, strength, contribution, weight) in found.items():
        total = contribution.sum(1).tolist()
        row, value = (strength > 0).nonzero().T
        shares: list[tuple[list[Share], list[Share]]] = [([], []) for _ in pairs]
        columns = (table[row, value].tolist() for table in (affinity, strength, contribution))
        for pair, index, *figures in zip(row.tolist(), value.tolist(), *columns, strict=True):
            shares[pair][figures[0] <= 0].append(Share(name(kind, index), *figures))
        for pair, (common, other) in enumerate(shares):
            for side in (common, other):
                side.sort(key=lambda share: -share.contribution)
            influence = Influence(total[pair], float(weight[pair]), tuple(common), tuple(other))
            pairs[pair][kind] = influence
    return pairs
