"""What lists are like apart from being right: novelty, diversity, popularity, and how much of the catalogue they show.

Lists are (B, k) items, with `NO_ITEM` in slots that hold nothing; such slots do not count. Per-user results are float64
of shape (B,), NaN where a list has no value.
"""

from __future__ import annotations

import torch
from torch import Tensor


def novelty(item: Tensor, popularity: Tensor, num_users: int) -> Tensor:
    """Mean self-information -log2 p(i) of the items in a list, in bits (Zhou et al., PNAS 2010).

    p(i) = (users of i in train + 1) / (U + 1): an item nobody has used is as novel as log2(U + 1), not infinitely so.

    Args:
        item: (B, k).
        popularity: (I,) train users of each item.
        num_users: U.
    """
    return _list_mean(item, -((popularity.double() + 1) / (num_users + 1)).log2())


def list_popularity(item: Tensor, popularity: Tensor) -> Tensor:
    """Mean number of train users of the items in a list."""
    return _list_mean(item, popularity.double())


def intra_list_diversity(item: Tensor, genres: Tensor) -> Tensor:
    """1 - mean cosine similarity of the genres of all pairs of items in a list (Ziegler et al., WWW 2005).

    Items without genres say nothing about diversity and are left out; a list with less than two others has no value.

    Args:
        item: (B, k).
        genres: (I, G) 0/1.
    """
    norm = genres.double().norm(dim=1, keepdim=True)
    unit = genres / norm.clamp(min=1.0)
    empty = len(unit)
    unit = torch.cat([unit, unit.new_zeros(1, unit.shape[1])])
    index = torch.where(item >= 0, item, empty).long()
    total = torch.nn.functional.embedding_bag(index, unit, mode="sum")
    known = (torch.cat([norm[:, 0], norm.new_zeros(1)]) > 0)[index].sum(1)
    # |sum of unit vectors|^2 counts every ordered pair once, and each vector with itself.
    similarity = (total.square().sum(1) - known) / (known * (known - 1))
    return torch.where(known > 1, 1 - similarity, torch.nan)


def exposure(item: Tensor, num_items: int) -> Tensor:
    """(I,) in how many lists each item stands."""
    return torch.bincount(item[item >= 0], minlength=num_items)


def coverage(exposure: Tensor) -> Tensor:
    """Share of the catalogue that stands in at least one list."""
    return (exposure > 0).double().mean()


def gini(exposure: Tensor) -> Tensor:
    """Gini coefficient of exposure over the catalogue: 0 where all items are shown equally often, 1 - 1/I for one item.

    NaN where nothing is shown.
    """
    ascending = exposure.sort().values.double()
    num_items = len(ascending)
    weight = 2 * torch.arange(1, num_items + 1, device=exposure.device, dtype=torch.float64) - num_items - 1
    return (weight * ascending).sum() / (num_items * ascending.sum())


def popularity_lift(listed: Tensor, profile: Tensor) -> Tensor:
    """How much more popular lists are than what their users have chosen before: 0 is faithful, 1 twice as popular.

    Mean over users of the popularity of their list, divided by the mean over the same users of the popularity of their
    profile, minus 1 (group average popularity; Abdollahpouri et al., RMSE 2019). Users without list or profile are left
    out. NaN where no profile holds an item that train knows.

    Args:
        listed: (B,) mean popularity of each list, NaN for an empty one.
        profile: (B,) mean popularity of each profile, NaN for an empty one.
    """
    both = ~(listed.isnan() | profile.isnan())
    usual = profile[both].mean()
    return torch.where(usual > 0, listed[both].mean() / usual - 1, torch.nan)


def _list_mean(item: Tensor, value: Tensor) -> Tensor:
    """Mean of a value per item (I,) over each list."""
    filled = item >= 0
    return value[item.clamp(min=0)].masked_fill(~filled, 0.0).sum(1) / filled.sum(1)
