"""Users who are known in one domain and new in another: their vectors are carried over by maps that others teach."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, softplus

from recsys_lightning.batches import CSR, PairBatch, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.domains import by_domain
from recsys_lightning.models.sparse import blocks, rows_at, take
from recsys_lightning.schema import Schema

USERS_AT_ONCE = 4096
"""So many users are carried over at a time when all are: their bridges take 64 MiB at 64 wide."""


class Training(NamedTuple):
    """The state of a training step: the tables as they are, and what maps learn from."""

    user: Tensor  # (U, M * D)
    item: Tensor  # (I, M * D)
    views: Views


class Mapped(Recommender):
    """Matrix factorisation of each domain by itself, and maps from one domain's users to another's.

        score(u, i) = z_{u, d} . v_i,    d the domain of item i
        z_{u, d} = e_{u, d} where the user has visible rows in d,
                   else the mean of map_{s -> d}(e_{u, s}) over the domains s in which the user has some

    The tables e and v learn from the ranking loss of their own domain alone. Maps learn from the batch's users who have
    rows in both domains, and no gradient of theirs reaches the tables: what the papers do one after the other is done
    side by side. A user without any row has zeros. A subclass says what a map is, and what it learns from.

    Args:
        schema: sizes of the data.
        dim: D, at least 1.

    Raises:
        InputError: an argument is out of its range, or the data have one domain.
    """

    def __init__(self, schema: Schema, dim: int = 64) -> None:
        super().__init__(schema)
        name = type(self).__name__
        if dim < 1:
            raise InputError(f"{name} needs a dim of at least 1, and was given {dim}.")
        if len(schema.domains) < 2:
            raise InputError(f"{name} carries users from one domain to another, and {schema.name} has one domain.")
        self.dim = dim
        self.pairs = list(permutations(range(len(schema.domains)), 2))
        self.user = nn.Parameter(torch.empty(self.num_users, len(schema.domains), dim))
        self.item = nn.Parameter(torch.empty(self.num_items, dim))
        for table in (self.user, self.item):
            nn.init.normal_(table, std=0.1)

    def carry(self, views: Views, user: Tensor, source: int, target: int) -> Tensor:
        """What users (B,) of the source domain are in the target domain, (B, D); no gradient reaches the tables."""
        raise NotImplementedError

    def map_loss(self, views: Views, batch: PairBatch, source: int, target: int) -> Tensor:
        """What the map from source to target learns from the rows of a batch of the target domain, a scalar."""
        raise NotImplementedError

    def encode(self, views: Views) -> Embeddings:
        """Vectors of users in every domain, carried over where they have no rows."""
        assert views.domain is not None
        known = views.rows_in_domains > 0
        sources = known.sum(1, keepdim=True).clamp_min(1)
        vectors = []
        for domain in range(known.shape[1]):
            total = torch.zeros_like(self.user[:, domain])
            for source, target in self.pairs:
                if target == domain:
                    new = (known[:, source] & ~known[:, target]).nonzero()[:, 0]
                    for part in blocks(len(new), USERS_AT_ONCE, new.device):
                        chosen = new[part]
                        total = total.index_add(0, chosen, self.carry(views, chosen, source, target))
            vectors.append(torch.where(known[:, domain, None], self.user[:, domain], total / sources))
        return by_domain(torch.stack(vectors, 1), self.item, views.domain)

    def encode_for(self, views: Views, batch: PairBatch) -> Training:
        """The tables as they are."""
        assert views.domain is not None
        return Training(*by_domain(self.user, self.item, views.domain), views)

    def auxiliary(self, state: Training, batch: PairBatch) -> Tensor:
        """What the maps learn from; those into other domains than the batch's have a gradient of zeros."""
        views = state.views
        assert views.domain is not None
        known, target = views.rows_in_domains > 0, int(views.domain[batch.item[0]])
        loss = batch.item_log_q.new_zeros(())
        for source, goal in self.pairs:
            chosen = known[batch.user, source] & (goal == target)
            loss = loss + self.map_loss(views, _rows(batch, chosen), source, goal)
        return loss

    def penalty(self, state: Training, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Half the squared L2 norm of the embeddings that a batch touches, divided by B; a scalar.

        Of a user that is the one of the item's domain: the others learn nothing here, and are not to shrink.
        """
        assert state.views.domain is not None
        own = user * self.user.shape[1] + state.views.domain[item]
        touched = (rows_at(self.user.flatten(0, 1), own), rows_at(self.item, item), rows_at(self.item, negative))
        return torch.stack([rows.square().sum() for rows in touched]).sum() / (2 * len(user))


class EMCDR(Mapped):
    """Maps of two layers, learned from the users of both domains by the squared error.

        map_{s -> t}(e) = W2 tanh(W1 e + b1) + b2,    loss |map_{s -> t}(e_{u, s}) - e_{u, t}|^2

    Source: Man et al., IJCAI 2017, Cross-Domain Recommendation: An Embedding and Mapping Approach; there over users,
    here over the rows of a batch.

    Args:
        schema: sizes of the data.
        dim: D.
        hidden: width of the layer between; twice D where None.

    Raises:
        InputError: an argument is out of its range, or the data have one domain.
    """

    def __init__(self, schema: Schema, dim: int = 64, hidden: int | None = None) -> None:
        super().__init__(schema, dim)
        width = 2 * dim if hidden is None else hidden
        if width < 1:
            raise InputError(f"EMCDR needs a hidden width of at least 1, and was given {hidden}.")
        self.maps = nn.ModuleDict(
            {_key(pair): nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, dim)) for pair in self.pairs}
        )

    def carry(self, views: Views, user: Tensor, source: int, target: int) -> Tensor:
        """The map of the source's vectors."""
        vectors: Tensor = self.maps[_key((source, target))](self.user.detach()[user, source])
        return vectors

    def map_loss(self, views: Views, batch: PairBatch, source: int, target: int) -> Tensor:
        """Mean squared error, over D and the batch's rows; 0 without rows."""
        carried = self.carry(views, batch.user, source, target)
        squares = mse_loss(carried, self.user.detach()[batch.user, target], reduction="sum")
        return squares / max(1, carried.numel())


class PTUPCDR(Mapped):
    """A bridge of each user's own: a matrix that is made of what the user has in the source domain.

        map_{s -> t}(u) = B_u e_{u, s},    B_u = reshape(G2 relu(G1 p_u)),    p_u = sum_j softmax_j(a . relu(A v_j)) v_j

    over the user's items j of the source. Bridges learn from what they are there for: the vector that is carried over
    must rank the user's items of the target above the batch's negatives (-log sigmoid of the difference).

    Source: Zhu et al., WSDM 2022, arXiv 2110.11154; there with ratings, here with rankings.

    Args:
        schema: sizes of the data.
        dim: D.
        hidden: width of the two hidden layers.

    Raises:
        InputError: an argument is out of its range, or the data have one domain.
    """

    def __init__(self, schema: Schema, dim: int = 64, hidden: int = 50) -> None:
        super().__init__(schema, dim)
        if hidden < 1:
            raise InputError(f"PTUPCDR needs a hidden width of at least 1, and was given {hidden}.")
        self.attention = nn.ModuleDict({_key(pair): _two_layers(dim, hidden, 1) for pair in self.pairs})
        self.bridge = nn.ModuleDict({_key(pair): _two_layers(dim, hidden, dim * dim) for pair in self.pairs})

    def carry(self, views: Views, user: Tensor, source: int, target: int) -> Tensor:
        """Each user's vector of the source times the user's bridge."""
        key = _key((source, target))
        distinct, place = user.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        taste = self._taste(key, take(views.derive(_items_by_domain)[source], distinct))
        bridge = self.bridge[key](taste).view(len(distinct), self.dim, self.dim)
        vectors: Tensor = torch.bmm(bridge, self.user.detach()[distinct, source, :, None])[..., 0]
        return rows_at(vectors, place)

    def map_loss(self, views: Views, batch: PairBatch, source: int, target: int) -> Tensor:
        """Mean of -log sigmoid of positive minus negative over the batch's rows; 0 without rows."""
        carried, item = self.carry(views, batch.user, source, target), self.item.detach()
        positive = (carried * item[batch.item]).sum(-1)
        if batch.negative.dim() == 1:
            negative = carried @ item[batch.negative].T
        else:
            negative = (carried[:, None] * item[batch.negative]).sum(-1)
        terms = softplus(negative - positive[:, None])
        same = batch.negative == batch.item[:, None]
        return terms.masked_fill(same, 0.0).sum() / (~same).sum().clamp_min(1)

    def _taste(self, key: str, own: CSR) -> Tensor:
        """Tastes p (B, D) of users, by their items of the source (B rows)."""
        vectors = self.item.detach()[own.col]
        logits = self.attention[key](vectors)[:, 0]
        top = logits.new_full((len(own.crow) - 1,), -torch.inf).scatter_reduce(0, own.row, logits.detach(), "amax")
        weight = (logits - rows_at(top, own.row)).exp()
        total = weight.new_zeros(len(top)).index_add(0, own.row, weight)
        pooled = vectors.new_zeros(len(top), self.dim).index_add(0, own.row, weight[:, None] * vectors)
        tastes: Tensor = pooled / total.clamp_min(torch.finfo(total.dtype).tiny)[:, None]
        return tastes


def _items_by_domain(views: Views) -> list[CSR]:
    """Items of each user (U rows), for each domain."""
    found = [(views.train.within(items), items) for items in views.members]
    return [CSR(own.crow, items[own.col]) for own, items in found]


def _rows(batch: PairBatch, chosen: Tensor) -> PairBatch:
    """The chosen rows (B,) of a batch; negatives that all share stay."""
    shared = batch.negative.dim() == 1
    negative, log_q = batch.negative, batch.negative_log_q
    if not shared:
        negative, log_q = negative[chosen], log_q[chosen]
    return PairBatch(batch.user[chosen], batch.item[chosen], negative, batch.item_log_q[chosen], log_q)


def _two_layers(dim: int, hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, width))


def _key(pair: tuple[int, int]) -> str:
    """A pair of domains as the name of a submodule."""
    return f"{pair[0]}_to_{pair[1]}"
