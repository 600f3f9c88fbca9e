"""What the vectors of users and items are like: their lengths, what lies near what, who points where."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from recsys_lightning.batches import CSR

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are named."""

BINS = 31
"""Bars of a histogram; odd, so that equal values lie in the middle of one."""

COSINES = 1 << 24
"""So many cosines are held at a time: 64 MiB of float32."""


class Spread(NamedTuple):
    """How values lie: their mean, quantiles by their share, and a histogram."""

    mean: float
    quantiles: dict[str, float]
    edges: list[float]  # one more than bars
    counts: list[int]


class Alignment(NamedTuple):
    """Cosines of users with what they own, beside those with what others own."""

    mean: float
    shuffled: float
    users: int
    edges: list[float]
    counts: list[int]


def spread(values: Tensor) -> Spread:
    """How values (N,), at least one, lie; equal ones but for rounding share a bar."""
    numbers = values.detach().cpu().double().numpy()
    middle, reach = float(np.median(numbers)), float(np.ptp(numbers))
    rounding = 1e-5 * abs(middle)
    limits = None if reach > rounding else (middle - 0.5, middle + 0.5)
    counts, edges = np.histogram(numbers, BINS, limits)
    quantiles = {f"{share:g}": float(np.quantile(numbers, share)) for share in SHARES}
    return Spread(float(numbers.mean()), quantiles, edges.tolist(), counts.tolist())


def norms(vectors: Tensor) -> Spread:
    """How long vectors (N, D), at least one, are."""
    return spread(vectors.norm(dim=1))


def nearest(vectors: Tensor, query: Tensor, k: int) -> Tensor:
    """The k nearest others of each query (Q,) by cosine, nearest first: (Q, k), or fewer where there are not so many.

    Args:
        vectors: (N, D).
        query: rows of them.
        k: at least 1.
    """
    unit = normalize(vectors.float())
    found = []
    for part in torch.split(query, max(1, COSINES // len(unit))):
        cosine = unit[part] @ unit.T
        cosine[torch.arange(len(part), device=part.device), part] = -torch.inf
        found.append(cosine.topk(min(k, len(unit) - 1)).indices)
    return torch.cat(found)


def alignment(user: Tensor, item: Tensor, own: CSR, seed: int = 0) -> Alignment | None:
    """Cosine of each user with the mean of the own items' vectors, beside that of the items of one other user.

    Each user's items are held against exactly one other user, in a circle through all of them.

    Args:
        user: (U, D).
        item: (I, D).
        own: items of each user (U rows); users without any are left out.
        seed: of the circle.

    Returns:
        None where fewer than two users have any.
    """
    has = own.degree.nonzero()[:, 0]
    if len(has) < 2:
        return None
    means = embedding_bag(own.col, item.float(), own.crow[:-1], mode="mean")
    point, target = normalize(user[has].float()), normalize(means[has])
    circle = torch.randperm(len(has), generator=torch.Generator().manual_seed(seed)).to(has.device)
    other = torch.empty_like(circle)
    other[circle] = circle.roll(1)
    own_cosine = (point * target).sum(1)
    values = spread(own_cosine)
    shuffled = float((point * target[other]).sum(1).double().mean())
    return Alignment(values.mean, shuffled, len(has), values.edges, values.counts)
