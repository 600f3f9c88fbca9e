"""Which tastes of a user matter in other domains alone."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_VARIANCE = 0.2
"""Directions along which items vary by a smaller share of the most are noise to them."""


def foreign(user: Tensor, others: Tensor, own: Tensor, ratio: float) -> Tensor:
    """Directions of users' tastes that matter for others' items and not for a domain's own.

    With S_d the covariance of the own items, of trace 1, S_o that of all others, and S = S_d + S_o, of which what is
    below a fifth of its largest eigenvalue is left out as noise: the vectors w of S_o w = x S_d w span all that items
    differ in, and foreign are those of x >= ratio. What all items of a domain share, their mean, ranks none of them
    above another and counts for nothing. A user's taste along one of them is u . S w. From the foreign tastes
    their best linear prediction by the others is taken away, as the domain can use that, and what is left is whitened
    over all users.

    Args:
        user: (U, D).
        others: (n, D) items. Those of several domains are centred domain by domain, as what lies between two means is
            nothing that items of a domain differ in.
        own: (m, D) items.
        ratio: above 1.

    Returns:
        F (D, R), so that `(user - mean) @ F` are the tastes; R may be 0.
    """
    if min(len(others), len(own), len(user) - 1) < 1:
        return user.new_zeros(user.shape[1], 0)
    centred = user.double().cpu()
    centred = centred - centred.mean(0)
    theirs, ours = (_covariance(rows.double().cpu()) for rows in (others, own))
    size, axes = torch.linalg.eigh(theirs + ours)
    axes, size = axes[:, size > LEAST_VARIANCE * size[-1]], size[size > LEAST_VARIANCE * size[-1]]
    white = axes * size.rsqrt()
    share, turn = torch.linalg.eigh(white.T @ theirs @ white)  # x / (1 + x), ascending
    directions = axes * size.sqrt() @ turn
    chosen = directions[:, share >= ratio / (1 + ratio)]
    rest = directions[:, share < ratio / (1 + ratio)]
    if not chosen.shape[1]:
        return user.new_zeros(user.shape[1], 0)
    left = chosen
    if rest.shape[1]:
        left = chosen - rest @ torch.linalg.lstsq(centred @ rest, centred @ chosen, driver="gelsd").solution
    size, turn = torch.linalg.eigh((centred @ left).T @ (centred @ left) / len(user))
    kept = size > 1e-9 * centred.square().sum(1).mean()
    whitened: Tensor = (left @ turn[:, kept] * size[kept].rsqrt()).to(user)
    return whitened


def _covariance(rows: Tensor) -> Tensor:
    """Covariance (D, D) of rows (n, D), of trace 1; zeros where they are all alike."""
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred
    return covariance / covariance.trace().clamp(min=torch.finfo(covariance.dtype).tiny)
