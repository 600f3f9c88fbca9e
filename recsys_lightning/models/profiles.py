"""What users' own items tell of their taste for attribute values (genres, directors): static facts of the views."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.relations import in_row_order, rated
from recsys_lightning.models.sparse import entries, pool
from recsys_lightning.schema import EdgeType, Schema


class Own(NamedTuple):
    """The visible items of each user, weighted as the edges of the graph are."""

    rows: CSR  # (U rows)
    weight: Tensor  # (E,), ones where the edges have no weights
    total: Tensor  # (U,) sum of a user's weights
    activity: Tensor  # (U,) in 0..1: log(1 + items), over that of the most active user
    key: Tensor  # (E,) user * I + item, ascending
    num_items: int

    def mean(self, table: Tensor, user: Tensor | None = None, factor: Tensor | None = None) -> Tensor:
        """Weighted mean over a user's items: (I, D) -> (U, D), or (B, D) for the users named; 0 without any item.

        Args:
            table: (I, D).
            user: (B,); all users where None.
            factor: (E,) that multiply what is summed, but not what the sum is divided by; ones where None.
        """
        rows, total = self.rows, self.total
        weight = self.weight if factor is None else self.weight * factor
        if user is not None:
            crow, position = entries(rows, user)
            rows, weight, total = CSR(crow, rows.col[position]), weight[position], total[user]
        return pool(rows, table, weight.to(table.dtype)) / _positive(total).to(table.dtype)[:, None]

    def weights(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Weight of the interaction of each pair, 0 where there is none, and of all those of its user: (B,), (B,)."""
        total = self.total[user]
        if not len(self.key):
            return torch.zeros_like(total), total
        wanted = user * self.num_items + item
        place = torch.searchsorted(self.key, wanted).clamp(max=len(self.key) - 1)
        return torch.where(self.key[place] == wanted, self.weight[place], 0.0), total


class Profile(NamedTuple):
    """Which values of one kind the items have, and what follows for the users."""

    heard: EdgeType  # from values to items, whose relation has its targets' edges in the order of `values`
    values: CSR  # (I rows) values of each item
    strength: Tensor  # (entries,) 1 / number of the item's values
    diversity: Tensor  # (U,) in 0..1: entropy of the user's shares, over that of equal shares of all values
    num_values: int

    def mean(self, table: Tensor, factor: Tensor | None = None) -> Tensor:
        """Mean over an item's values: (values, D) -> (I, D); 0 without any value.

        Args:
            table: (values, D).
            factor: (entries,), in the order of `values`, that multiply what is summed; ones where None.
        """
        weight = self.strength if factor is None else self.strength * factor
        return pool(self.values, table, weight.to(table.dtype))

    def strengths(self, item: Tensor) -> Tensor:
        """Shares of the values in items: (B,) -> (B, values), rows adding up to 1 or, without any value, 0."""
        crow, position = entries(self.values, item)
        rows = CSR(crow, self.values.col[position])
        return _dense(rows, self.strength[position], self.num_values)

    def affinities(self, own: Own, user: Tensor) -> Tensor:
        """Shares of the values in users' own items: (B,) -> (B, values), rows adding up to at most 1."""
        crow, position = entries(own.rows, user)
        rows = CSR(crow, own.rows.col[position])
        share = torch.zeros(len(user), self.num_values, device=user.device)
        row = rows.row
        weight = own.weight[position] / _positive(own.total)[user[row]]
        at, value = self.values.select(rows.col)
        share.view(-1).index_add_(0, row[at] * self.num_values + value, (weight / self._degree(rows.col))[at].float())
        return share

    def _degree(self, item: Tensor) -> Tensor:
        return self.values.degree[item].clamp(min=1)


@cache
def own_items(weighted: tuple[EdgeType, ...]) -> Callable[[Views], Own]:
    """What makes `Own`, for `views.derive`.

    Args:
        weighted: the edge types whose `weight` counts, one for each domain; none where all edges weigh the same.
    """

    def build(views: Views) -> Own:
        rows = views.train
        weight = torch.ones(len(rows.col), device=views.device)
        if weighted:
            weight = in_row_order(views, [views.graph[edge_type].weight for edge_type in weighted])
        row = rows.row
        total = weight.new_zeros(views.num_users).index_add_(0, row, weight)
        active = rows.degree.log1p()
        activity = active / active.max().clamp(min=1e-12) if len(active) else active
        return Own(rows, weight, total, activity, row * views.num_items + rows.col, views.num_items)

    return build


def interactions(schema: Schema) -> tuple[EdgeType, ...]:
    """The edge types whose weights count in `own_items`."""
    return () if schema.edge_weight == "none" else rated(schema.edge_types, schema.item_type)


@cache
def profile(edge_type: EdgeType, num_values: int, weighted: tuple[EdgeType, ...]) -> Callable[[Views], Profile]:
    """What makes the `Profile` of one kind of attributes, for `views.derive`.

    Args:
        edge_type: from items to values.
        num_values: nodes of that kind.
        weighted: as in `own_items`.
    """

    def build(views: Views) -> Profile:
        item, value = views.graph[edge_type].edge_index
        order = (item * num_values + value).argsort()
        degree = torch.bincount(item, minlength=views.num_items)
        values = CSR(torch.cat([degree.new_zeros(1), degree.cumsum(0)]), value[order])
        strength = 1.0 / degree.clamp(min=1)[values.row]
        source, name, target = edge_type
        found = Profile((target, f"rev_{name}", source), values, strength, torch.empty(0), num_values)
        return found._replace(diversity=_diversity(found, views.derive(own_items(weighted))))

    return build


@cache
def ancestors(edge_type: EdgeType, num_values: int) -> Callable[[Views], CSR]:
    """What makes the rows of each value's ancestors, itself among them, for `views.derive`.

    Args:
        edge_type: from values to their parents.
        num_values: nodes of that kind.
    """

    def build(views: Views) -> CSR:
        child, parent = views.graph[edge_type].edge_index
        degree = torch.bincount(child, minlength=num_values)
        parents = CSR(torch.cat([degree.new_zeros(1), degree.cumsum(0)]), parent[child.argsort(stable=True)])
        known = torch.arange(num_values, device=views.device) * (num_values + 1)
        while True:
            at, value = known // num_values, known % num_values
            row, above = parents.select(value)
            more = torch.cat([known, at[row] * num_values + above]).unique()  # type: ignore[no-untyped-call]
            if len(more) == len(known):
                count = torch.bincount(at, minlength=num_values)
                return CSR(torch.cat([count.new_zeros(1), count.cumsum(0)]), value)
            known = more

    return build


BLOCK = 1 << 22
"""Numbers that are held at a time when diversities are computed: shares of users in values, and what they are of."""


def _diversity(found: Profile, own: Own) -> Tensor:
    parts = []
    users = torch.arange(len(own.total), device=own.total.device)
    read = int(found.values.degree[own.rows.col].sum()) // max(1, len(users))  # by a user, on average
    size = max(1, BLOCK // max(1, found.num_values + 16 * read))
    for user in users.split(size):  # type: ignore[no-untyped-call]
        share = found.affinities(own, user)
        share = share / _positive(share.sum(1, keepdim=True))
        parts.append(torch.special.entr(share).sum(1) / math.log(max(2, found.num_values)))
    return torch.cat(parts).clamp(0, 1) if parts else own.total


def _dense(rows: CSR, weight: Tensor, num_columns: int) -> Tensor:
    dense = torch.zeros(len(rows.crow) - 1, num_columns, device=weight.device)
    dense[rows.row, rows.col] = weight
    return dense


def _positive(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1.0)
