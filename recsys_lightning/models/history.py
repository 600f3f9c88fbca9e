"""Users by their histories: a learned query looks over what they rated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from recsys_lightning.batches import CSR, Entries
from recsys_lightning.errors import InputError
from recsys_lightning.models.attention import mix
from recsys_lightning.models.relations import Relation
from recsys_lightning.models.sparse import rows_at, transpose


class Tables(NamedTuple):
    """All that histories read of items, a row for each and then L of zeros for padding: made once a step."""

    key: Tensor  # (I + L, H)
    value: Tensor  # (I + L, D)


def readings(item: Tensor, num_items: int) -> Relation:
    """Which rows of the tables histories (B, L) read, sorted by user and by item: once for all that read the same."""
    length = item.shape[1]
    crow = torch.arange(0, item.numel() + 1, length, dtype=torch.int32, device=item.device)
    # each place of padding has a row of its own: sampled products take no pair of user and row twice
    row = torch.where(item < num_items, item, num_items + torch.arange(length, device=item.device))
    by_user = CSR(crow, row.flatten().int())
    by_item, position = transpose(by_user, num_items + length)
    return Relation(by_user, CSR(by_item.crow.int(), by_item.col.int()), position.int(), torch.empty(0))


class HistoryAttention(nn.Module):
    """Users as what H learned queries find in their histories; heads are C = D / H wide.

        out = LayerNorm(W_o [W_v p_1; ..; W_v p_H]),    p_h = sum_t softmax_t(q_h . v_t / sqrt(C)) v_t
        v_t = item_t + E_rating(r_t) (+ E_time(b_t))

    of W_v p_h, head h takes its own C rows. It is multi-head attention whose query is learned: its W_k meets nothing
    but that query and is folded into it, its key bias cancels; for one head, W_o W_v is one matrix. Of a history in
    which nothing is real, the outcome is LayerNorm(0).

    v_t is a sum, so scores and weighted means are sums of look-ups: no entry's v_t is ever made.

    Args:
        dim: D.
        levels: of ratings.
        heads: H, a divisor of D.
        buckets: of time; 0 for a history without E_time.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, dim: int, levels: int, heads: int = 1, buckets: int = 0) -> None:
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads or levels < 1 or buckets < 0:
            raise InputError(
                f"{type(self).__name__} needs a dim that heads divides, at least one rating level and no negative "
                f"number of time buckets, and was given dim {dim}, heads {heads}, levels {levels}, buckets {buckets}."
            )
        self.query = nn.Parameter(torch.empty(heads, dim))
        self.rating = nn.Parameter(torch.empty(levels + 1, dim))
        self.time = nn.Parameter(torch.empty(buckets + 1, dim)) if buckets else None
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False) if heads > 1 else None
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.query, std=dim**-0.5)
        for table in (self.rating, self.time):
            if table is not None:
                nn.init.normal_(table, std=0.1)
        # an empty history is this bias: of length 0 it had no cosine, and the gradient there is without bound
        nn.init.normal_(self.norm.bias, std=0.1)

    def tables(self, item: Tensor, length: int) -> Tables:
        """What histories of `length` entries read of items (I, D)."""
        padded = pad(item, (0, 0, 0, length))
        return Tables(self._key(padded), self._value(padded))

    def forward(self, tables: Tables, entries: Entries, mask: Tensor, found: Relation | None = None) -> Tensor:
        """Users by their histories.

        Args:
            tables: of the items.
            entries: (B, L) histories.
            mask: (B, L) which of the entries count; padding must not.
            found: `readings` of the entries, where these are known already.

        Returns:
            (B, D)
        """
        exact, heads = self.query.dtype, len(self.query)
        marks, mark = self._marks(entries)
        key = self._key(marks).to(exact)
        logit = rows_at(tables.key.to(exact), entries.item) + rows_at(key, mark).sum(2)
        logit = logit.masked_fill(~mask[..., None], torch.finfo(exact).min).transpose(1, 2)
        weight = logit.softmax(2) * mask[:, None]
        found = found or readings(entries.item, len(tables.key) - entries.item.shape[1])
        pooled = mix(tables.value.to(exact), weight.transpose(1, 2).flatten(0, 1), found)
        value = self._value(marks).to(exact).view(len(marks), heads, -1)
        share = weight.new_zeros(*weight.shape[:2], len(marks))
        for place in mark.unbind(2):
            share = share.scatter_add(2, place[:, None].expand_as(weight), weight)
        pooled = pooled + torch.einsum("bhk,khc->bhc", share, value).flatten(1)
        out: Tensor = self.norm((self.value if self.out is None else self.out)(pooled).to(exact))
        return out

    def _key(self, rows: Tensor) -> Tensor:
        """q_h . v / sqrt(C) of rows (n, D): (n, H)."""
        key: Tensor = rows @ self.query.T * (len(self.query) / self.query.shape[1]) ** 0.5
        return key

    def _value(self, rows: Tensor) -> Tensor:
        """What is pooled of rows (n, D): W_v v where several heads take their parts of it, else v itself."""
        return rows if self.out is None else self.value(rows)

    def _marks(self, entries: Entries) -> tuple[Tensor, Tensor]:
        """The tables E of ratings and times, one below the other (K, D), and which rows entries take (B, L, 1 or 2)."""
        if self.time is None:
            return self.rating, entries.rating[..., None]
        mark = torch.stack([entries.rating, entries.time + len(self.rating)], 2)
        return torch.cat([self.rating, self.time]), mark


class UserHistoryAttention(HistoryAttention):
    """Users by the texts of what they rated and by their ratings: one head, and no time.

    Args:
        dim: D.
        levels: of ratings.
    """

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__(dim, levels)


class UserGraphHistoryEncoder(HistoryAttention):
    """Users by the graph's vectors of what they rated, by their ratings and by how long ago that was.

    Args:
        dim: D.
        levels: of ratings.
        buckets: of time, at least 1.
        heads: a divisor of D.

    Raises:
        InputError: there are no time buckets.
    """

    def __init__(self, dim: int, levels: int, buckets: int, heads: int = 4) -> None:
        super().__init__(dim, levels, heads, buckets)
        if self.time is None:
            raise InputError("UserGraphHistoryEncoder needs at least one time bucket, and was given 0.")
