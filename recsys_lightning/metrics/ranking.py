"""Top-k lists with exact ties, and accuracy metrics on their hits.

Every metric is defined for one user and a list of k items; its value for a model is the mean over the users with at
least one relevant item. `hits` (B, k) says which ranks, best first, hold a relevant item, and `num_relevant` (B,) how
many relevant items the user has, in the list or not. Results are float64 of shape (B,); 0 where nothing is relevant.
A list shorter than k, as a small catalogue makes it, still counts as k ranks.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

from recsys_lightning.errors import NonFiniteError

NO_ITEM = -1
"""What a list holds where there is nothing left to recommend."""


class NonFiniteScores(NonFiniteError):
    """A model scored an item with NaN or +inf, so that its ranking means nothing."""


class Ranked(NamedTuple):
    """The best items of each row, best first. Slots with nothing to recommend hold `NO_ITEM` and -inf."""

    item: Tensor  # (B, k)
    score: Tensor  # (B, k)


def tie_priority(num_items: int, seed: int = 0) -> Tensor:
    """A seeded random permutation (I,): of two items with equal scores, the one with the smaller entry goes first."""
    return torch.randperm(num_items, generator=torch.Generator().manual_seed(seed)).int()


def tie_priority_of(items: Tensor, num_items: int, seed: int = 0) -> Tensor:
    """Priority (n,) of some items (n,) that are ranked by themselves: ties fall as in lists of all `num_items`."""
    return tie_priority(num_items, seed)[items.cpu()].argsort().argsort().int().to(items.device)


def mask(scores: Tensor, pairs: Tensor) -> None:
    """Mark pairs as not to be recommended, in place.

    Args:
        scores: (B, I), contiguous.
        pairs: (2, S) pairs (row, item).

    Raises:
        NonFiniteScores: a score about to be hidden is NaN or +inf.
    """
    row, item = pairs.long()
    _check(scores[row, item], row)
    scores[row, item] = -torch.inf


def top_k(scores: Tensor, k: int, priority: Tensor) -> Ranked:
    """The k best items of each row: by score downwards, equal scores by priority upwards.

    The outcome depends on nothing but scores and priority: not on the device, the other rows or the order of work.

    Args:
        scores: (B, I); -inf marks an item that is not to be recommended.
        k: length of the lists; it may exceed I.
        priority: (I,) a permutation of the items, see `tie_priority`.

    Raises:
        NonFiniteScores: a score is NaN or +inf.
    """
    length = min(k, scores.shape[1])
    value, item = _largest(scores, min(k + 1, scores.shape[1]))  # NaN and +inf come first, so one column shows them
    _check(value[:, 0], torch.arange(len(value), device=value.device))
    next_value = value[:, length:]
    value, item = value[:, :length], item[:, :length]
    last = value[:, -1:]
    # Where the last place and the next one tie, `_largest` chose among the equal items at will.
    cut = ((last == next_value) & (last > -torch.inf)).any(1).nonzero()[:, 0]
    if len(cut):
        value[cut], item[cut] = _settle_last_place(scores[cut], value[cut], item[cut], priority)
    equal = (value[:, 1:] == value[:, :-1]).any(1).nonzero()[:, 0]
    if len(equal):
        value[equal], item[equal] = _in_order(value[equal], item[equal], priority, length)
    item = item.masked_fill(value == -torch.inf, NO_ITEM)
    padding = (0, k - length)
    return Ranked(
        torch.nn.functional.pad(item, padding, value=NO_ITEM),
        torch.nn.functional.pad(value, padding, value=-torch.inf),
    )


def _check(score: Tensor, row: Tensor) -> None:
    """Refuse scores that are NaN or +inf."""
    fine = score < torch.inf
    if not fine.all():
        raise NonFiniteScores(
            f"{len(set(row[~fine].tolist()))} users of a batch have scores that are NaN or +inf, so they cannot be "
            "ranked. The model has diverged: lower the learning rate, or look at what it was given."
        )


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each row, downwards, and their columns; arbitrary ones among equals.

    The k blocks of columns with the largest maxima hold k largest values: whatever lies elsewhere is at most the
    maximum of its block, and so at most each of these k maxima. One sweep for the maxima is several times cheaper than
    `topk` on whole rows, which then sees the k blocks only.
    """
    num_rows, num_columns = values.shape
    depth = isqrt(num_columns // (4 * k))  # balances the number of blocks with the size of the k blocks
    if depth < 2:
        best = values.topk(k)
        return best.values, best.indices
    num_blocks = num_columns // depth
    blocks = values[:, : depth * num_blocks].view(num_rows, depth, num_blocks)  # block b: columns b, b + num_blocks...
    chosen = blocks.amax(1).topk(k, sorted=False).indices
    steps = num_blocks * torch.arange(depth, device=values.device)
    rest = torch.arange(depth * num_blocks, num_columns, device=values.device).expand(num_rows, -1)
    columns = torch.cat([(chosen[:, None] + steps[:, None]).flatten(1), rest], 1)
    best = values.gather(1, columns).topk(k)
    return best.values, columns.gather(1, best.indices)


def _settle_last_place(scores: Tensor, value: Tensor, item: Tensor, priority: Tensor) -> tuple[Tensor, Tensor]:
    """Lists whose last score is shared with items outside: of all items with that score, those first in priority."""
    length = value.shape[1]
    last = value[:, -1:]
    nobody = -scores.shape[1]
    urgency, candidate = _largest(torch.where(scores == last, -priority, nobody), length)
    above, shared = value.masked_fill(value == last, -torch.inf), torch.where(urgency > nobody, last, -torch.inf)
    return _in_order(torch.cat([above, shared], 1), torch.cat([item, candidate], 1), priority, length)


def _in_order(value: Tensor, item: Tensor, priority: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The first entries of each row by value downwards, equal values by priority upwards."""
    by_priority = priority[item].argsort(1)
    by_value = value.gather(1, by_priority).argsort(stable=True, dim=1, descending=True)
    order = by_priority.gather(1, by_value)[:, :length]
    return value.gather(1, order), item.gather(1, order)


def pair_keys(pairs: Tensor, num_items: int) -> Tensor:
    """Pairs (row, item), (2, R), as ascending distinct numbers row * I + item."""
    keys = (pairs[0].long() * num_items + pairs[1]).sort().values
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]


def find_hits(item: Tensor, relevant: Tensor, num_items: int) -> Tensor:
    """Which entries of lists (B, k) are relevant, as (B, k) bool; no dense (B, I) table is made.

    Args:
        item: (B, k) recommended items or `NO_ITEM`.
        relevant: keys of the relevant pairs, see `pair_keys`.
        num_items: I.
    """
    rows = torch.arange(len(item), device=item.device)
    key = torch.where(item >= 0, rows[:, None] * num_items + item, NO_ITEM)
    wanted = torch.cat([relevant, relevant.new_full((1,), len(item) * num_items)])  # every search ends inside
    return wanted[torch.searchsorted(wanted, key)] == key


def recall(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """recall@k = hits / relevant items."""
    return _share(hits.sum(1), num_relevant)


def precision(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """precision@k = hits / k."""
    return hits.sum(1).double() / hits.shape[1]


def hit_rate(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """hit_rate@k = 1 where there is any hit, else 0."""
    return hits.any(1).double()


def reciprocal_rank(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """mrr@k = 1 / rank of the first hit, 0 where there is none within k."""
    rank = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    return (hits / rank).amax(1)


def average_precision(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """map@k = sum of precision@r over the ranks r <= k of hits, divided by min(k, relevant items)."""
    rank = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    at_hits = (hits.cumsum(1) / rank).masked_fill(~hits, 0.0)
    return _share(at_hits.sum(1), num_relevant.clamp(max=hits.shape[1]))


def ndcg(hits: Tensor, num_relevant: Tensor) -> Tensor:
    """ndcg@k = sum of 1 / log2(rank + 1) over hits, divided by that sum over the first min(k, relevant items) ranks.

    Binary gain (Järvelin and Kekäläinen, 2002).
    """
    length = hits.shape[1]
    discount = 1 / torch.arange(2, length + 2, device=hits.device, dtype=torch.float64).log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    return _share((hits * discount).sum(1), ideal[num_relevant.clamp(max=length)])


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Part / whole in float64, 0 where the whole is 0."""
    return torch.where(whole > 0, part.double() / whole.double(), 0.0)
