"""What the ID of an entity tells, and what its metadata tell: a gate between them, and losses that bring them together.

Source of the published losses: Yu et al., A Dual Augmented Two-tower Model for Online Large-scale Recommendation,
DLP-KDD 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys_lightning.batches import CSR
from recsys_lightning.models.sparse import pool, rows_at, transpose

LEAST_NORM = 1e-3
"""Shorter vectors count as so long when they are normalised, as the gradient is without bound where one vanishes."""
EVEN = 5
"""Interactions at which the gate is even before training."""
LENGTH = 3.0
"""Of vectors before training, where their length counts: scores are then between -9 and 9."""


class AdaptiveMimic(nn.Module):
    """A weighted mean of what an ID and what metadata tell of an entity.

        vector = l (share unit(metadata) + (1 - share) unit(ID))
        share  = sigmoid(w . tanh(W [unit(ID); unit(metadata)] + c) + a log(1 + interactions) + b)

    Both count by their directions alone, so that the share says how much each counts. Before training it falls with
    the interactions, a = -1, and is 1/2 at 5 of them; what it becomes is learned. The gate reads both vectors without
    bending them to its needs: no gradient goes through it. Without an ID, which is how new entities come, the share
    is 1.

    Args:
        dim: D.
        scaled: whether the length l is learned; it is 1 where scores do not depend on it, as cosines.
    """

    def __init__(self, dim: int, scaled: bool = False) -> None:
        super().__init__()
        self.length = nn.Parameter(torch.tensor(LENGTH)) if scaled else None
        self.hidden = nn.Linear(2 * dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)
        self.slope = nn.Parameter(torch.tensor(-1.0))
        self.intercept = nn.Parameter(torch.tensor(1 + EVEN).log())
        nn.init.zeros_(self.score.weight)

    def forward(self, identity: Tensor, metadata: Tensor, degree: Tensor, known: Tensor) -> Tensor:
        """IDs and metadata (n, D) each, interactions (n,), and whether the ID counts (n,) -> (n, D)."""
        share = self.share(identity, metadata, degree, known)[:, None]
        return self._scaled(share * unit(metadata) + (1 - share) * unit(identity))

    def alone(self, metadata: Tensor) -> Tensor:
        """Entities without an ID: (n, D) -> (n, D)."""
        return self._scaled(unit(metadata))

    def share(self, identity: Tensor, metadata: Tensor, degree: Tensor, known: Tensor) -> Tensor:
        """The share of the metadata, (n,)."""
        both = torch.cat([unit(identity), unit(metadata)], 1).detach()
        logit = self.score(self.hidden(both).tanh())[:, 0] + self.slope * degree.to(both.dtype).log1p() + self.intercept
        return torch.where(known, logit.sigmoid(), 1.0)

    def _scaled(self, vectors: Tensor) -> Tensor:
        return vectors if self.length is None else self.length * vectors


def unit(vectors: Tensor) -> Tensor:
    """Directions: (..., D) -> (..., D) of length 1, or less where they vanish."""
    return normalize(vectors, dim=-1, eps=LEAST_NORM)


def imitation(metadata: Tensor, identity: Tensor, degree: Tensor) -> Tensor:
    """How far metadata point away from IDs, which stay: the mean of 1 - cosine, weighted by log(1 + interactions).

    What an ID tells of an entity with few interactions is mostly noise, and not to be learned from.

    Args:
        metadata: (n, D).
        identity: (n, D).
        degree: (n,), of which those of 0 do not count.
    """
    weight = degree.to(metadata.dtype).log1p()
    apart = 1 - (unit(metadata) * unit(identity.detach())).sum(1)
    return (weight * apart).sum() / weight.sum().clamp(min=1e-6)


def augmentation(augmented: Tensor, other: Tensor) -> Tensor:
    """The mimic loss of Yu et al. on positives: squared distance of augmented vectors and what the other tower says.

    Args:
        augmented: (B, D) of one side of each positive pair.
        other: (B, D) output of the other side's tower, which stays.
    """
    return (augmented - other.detach()).square().sum(1).mean()


def category_alignment(vectors: Tensor, categories: CSR) -> Tensor:
    """The category alignment loss of Yu et al.: covariances of categories should be that of the major category.

        mean over the categories c of || cov(major) - cov(c) ||_F^2

    The major category is that of most of the items; an item of several categories belongs to each of them. Categories
    of fewer than two of these items have no covariance and do not count. (The paper sums over its categories, and so
    makes the weight a matter of how many there are.)

    Args:
        vectors: (n, D) of items.
        categories: of each item (n rows).

    Returns:
        A scalar, 0 where fewer than two categories count.
    """
    num_categories = int(categories.col.max()) + 1 if len(categories.col) else 0
    items = transpose(categories, num_categories)[0]
    count = items.degree
    several = (count > 1).nonzero()[:, 0]
    if len(several) < 2:
        return vectors.sum() * 0.0
    mean = pool(items, vectors) / count.clamp(min=1)[:, None].to(vectors.dtype)
    covariances = {}
    for category in several.tolist():
        centred = rows_at(vectors, items.col[items.crow[category] : items.crow[category + 1]]) - mean[category]
        covariances[category] = centred.T @ centred / (len(centred) - 1)
    major = covariances.pop(int(count.argmax()))
    return torch.stack([(major - other).square().sum() for other in covariances.values()]).mean()
