"""What two tables of vectors have in common: rows are the same users (or items), columns are each table's own.

All take finite numbers of any type and count in float64. None changes when a table is multiplied by a positive number,
nor, but for rounding, when both are rotated; linear CKA and canonical correlations allow each a rotation of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

RIDGE = 1e-4
"""Of canonical correlations, as a share of the mean variance of columns."""


class Canonical(NamedTuple):
    """Canonical correlations of rows that they were not fitted on: their mean, and each, the best fitted one first."""

    mean: float
    each: list[float]


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment, ||Y^T X||^2 / (||X^T X|| ||Y^T Y||) of centred tables (Frobenius norms).

    1 for tables that are the same but for rotation and scale, 0 for uncorrelated ones. Chance makes it larger where
    there are not many more rows than columns. 0 where all rows of a table are equal.

    Source: Kornblith et al., ICML 2019, arXiv 1905.00414.

    Args:
        x: (N, P).
        y: (N, Q).
    """
    x, y = _centred(x), _centred(y)
    lengths = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).square().sum() / lengths) if lengths > 0 else 0.0


def canonical_correlations(x: Tensor, y: Tensor, ridge: float = RIDGE, seed: int = 0) -> Canonical:
    """How well directions of one table tell those of another, on rows that they were not chosen by.

    On a random half of the rows, pairs of directions are fitted whose projections correlate most (Hotelling 1936);
    what is returned are the correlations of these projections on the other half. So independent tables have about 0,
    of either sign, however many columns they have. As many pairs as the narrower table has columns; 0 for those
    that a table lacks, as its columns are constant or say the same.

    With `y` a factor of independent columns, the mean is how much of the factor is linearly readable from `x`, if `x`
    has no fewer columns than the factor; see `readable`.

    Args:
        x: (N, P); where N is less than 4 nothing can be measured, and all correlations are 0.
        y: (N, Q).
        ridge: added to the variances, as a share of their mean in the table: 0 or more.
        seed: of the halves.
    """
    pairs, half = min(x.shape[1], y.shape[1]), len(x) // 2
    if half < 2:
        return Canonical(0.0, [0.0] * pairs)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    fitted, held = order[:half], order[half:]
    projected = [
        _centred(table[held]) @ white @ turn
        for table, white, turn in zip((x, y), *_directions(x[fitted], y[fitted], ridge), strict=True)
    ]
    each = (_unit(projected[0], 0) * _unit(projected[1], 0)).sum(0)
    each = torch.nn.functional.pad(each, (0, pairs - len(each)))
    return Canonical(float(each.mean()), each.tolist())


def readable(x: Tensor, factor: Tensor, ridge: float = RIDGE, seed: int = 0) -> float:
    """How much of a factor (N, Q) is linearly readable from vectors (N, P): the mean over the factor's Q dimensions.

    As the mean of `canonical_correlations`, but that vectors of fewer than Q columns cannot tell of the others: these
    count as 0.
    """
    return sum(canonical_correlations(x, factor, ridge, seed).each) / factor.shape[1]


def cosines(x: Tensor, y: Tensor, centred: bool = False) -> Tensor:
    """(N,) cosine of each row with its counterpart; 0 where one of the two is 0.

    Args:
        x: (N, D).
        y: (N, D).
        centred: whether the mean row of each table is taken off first. Then a constant that all rows share, which may
            make every cosine large, counts no more.
    """
    x, y = (_centred(x), _centred(y)) if centred else (x.double(), y.double())
    return (_unit(x, 1) * _unit(y, 1)).sum(1)


def reidentified(x: Tensor, y: Tensor, rows: int = 1000, seed: int = 0) -> float:
    """Share of rows of `x` whose own counterpart has a larger cosine with them than all others among random rows.

    Chance finds 1 in as many as there are rows. Equal cosines do not count: it is 0 where all rows of `y` are equal.

    Args:
        x: (N, D), at least one row.
        y: (N, D).
        rows: how many are compared; all where there are no more.
        seed: of the choice.
    """
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:rows].to(x.device)
    cosine = _unit(x[chosen].double(), 1) @ _unit(y[chosen].double(), 1).T
    own = cosine.diagonal().clone()
    others = cosine.fill_diagonal_(-torch.inf).amax(1)
    return float((own > others + 1e-9).double().mean())


def share_beyond_mean(difference: Tensor) -> float:
    """Share of the squared length of rows (N, D) that is left when their mean is taken off; 0 where they are all 0.

    0 for a constant shift, 1 where there is none in common.
    """
    total = difference.double().square().sum()
    return float(_centred(difference).square().sum() / total) if total > 0 else 0.0


def _directions(x: Tensor, y: Tensor, ridge: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What whitens each table, and turns the whitened one so that columns of the two correlate in pairs."""
    x, y = _centred(x), _centred(y)
    white = _whitening(x, ridge), _whitening(y, ridge)
    left, _, right = torch.linalg.svd((x @ white[0]).T @ (y @ white[1]), full_matrices=False)
    return white, (left, right.T)


def _whitening(centred: Tensor, ridge: float) -> Tensor:
    """(P, rank) columns that make those of a centred table uncorrelated, and their variances 1 but for the ridge."""
    variance, axis = torch.linalg.eigh(centred.T @ centred / len(centred))
    kept = variance > variance[-1:].clamp(min=0) * len(variance) * torch.finfo(variance.dtype).eps
    white: Tensor = axis[:, kept] * (variance[kept] + ridge * variance.mean()).rsqrt()
    return white


def _centred(table: Tensor) -> Tensor:
    """A table (N, D), N at least 1, less its mean row; exactly 0 in columns that are constant but for rounding."""
    rounding = max(2 * torch.finfo(table.dtype).eps, len(table) * torch.finfo(torch.float64).eps)
    table = table.double()
    centred = table - table.mean(0)
    varying = centred.abs().amax(0) > rounding * table.abs().amax(0)
    return centred * varying


def _unit(table: Tensor, dim: int) -> Tensor:
    unit: Tensor = normalize(table, dim=dim, eps=torch.finfo(table.dtype).tiny)
    return unit
