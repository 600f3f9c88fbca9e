"""Losses on conditions of users in domains: what a condition should keep, and what it should tell and not tell.

All of them are means over what they compare, and weigh nothing by themselves: a task adds them up by their weights.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import combinations
from math import acos, ceil, cos, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from recsys_lightning.errors import InputError
from recsys_lightning.losses.foreign import foreign
from recsys_lightning.losses.ranking import LEAST_NORM


class Conditions(NamedTuple):
    """The conditions of a training batch, and what they are compared with.

    `item` and `positive` are of an item that the user has in the domain, and of any item of it where `known` is False.
    """

    user: Tensor  # (B, D), as they came
    condition: Tensor  # (B, D), of each user in the domain of its sample
    every: Tensor  # (B, M, D), of each user in all domains
    domain: Tensor  # (B,)
    item: Tensor  # (B,)
    positive: Tensor  # (B, D)
    known: Tensor  # (B,) bool
    negative: Tensor  # (B, K, D) of items of the domain that the user does not have
    who: Tensor  # (B,) which user it is, as one can come in several domains


class ConditionLoss(nn.Module):
    """A loss on the conditions of one training batch, and how much it counts beside others.

    Args:
        weight: above 0.

    Raises:
        InputError: the weight is not above 0.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight > 0:
            raise InputError(f"{type(self).__name__} needs a weight above 0, and was given {weight}. Or leave it out.")
        self.weight = weight

    @property
    def name(self) -> str:
        """What the loss is logged as."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def prepare(self, user: Tensor, item: Tensor, domain: Tensor) -> None:
        """Take what does not change in training: frozen users (U, D) and items (I, D), and the items' domains (I,)."""

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar, without the weight."""
        raise NotImplementedError


class Reconstruction(ConditionLoss):
    """Keep the user: the mean of |condition - user|^2 / |user|^2.

    Args:
        weight: of this loss, above 0.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar."""
        size = batch.user.square().sum(1).clamp(min=LEAST_NORM**2)
        return ((batch.condition - batch.user).square().sum(1) / size).mean()


class Cosine(ConditionLoss):
    """Keep the user's direction: the squared distance of cos(user, condition) to target +- tolerance, in the mean.

    Args:
        weight: of this loss, above 0.
        target: cosine to keep.
        tolerance: by which cosines may miss it at no cost.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, weight: float = 5.0, target: float = 0.9, tolerance: float = 0.05) -> None:
        super().__init__(weight)
        if not (-1 <= target <= 1 and 0 <= tolerance <= 1):
            raise InputError(
                f"Cosine needs a target from -1 to 1 and a tolerance from 0 to 1, and was given {target} and "
                f"{tolerance}."
            )
        self.target, self.tolerance = target, tolerance

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar."""
        away = (cosine_similarity(batch.user, batch.condition, 1, LEAST_NORM) - self.target).abs()
        return (away - self.tolerance).relu().square().mean()

    @property
    def widest(self) -> float:
        """The angle between user and condition that is reached at no cost, in radians."""
        return acos(max(-1.0, self.target - self.tolerance))


class Diversity(ConditionLoss):
    """Tell the domains apart: the squared excess of cosines between a user's conditions above a target, in the mean.

    This is of all pairs of domains, raw and, with `centred`, also after the mean of each domain's conditions over the
    batch was taken away: a shift that is the same for everybody moves raw cosines apart, and centred ones not at all.

    Args:
        weight: of this loss, above 0.
        target: cosine between two conditions of a user that is low enough.
        centred: whether centred conditions count too, one half.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, weight: float = 0.1, target: float = 0.7, centred: bool = True) -> None:
        super().__init__(weight)
        if not -1 <= target <= 1:
            raise InputError(f"Diversity needs a target from -1 to 1, and was given {target}.")
        self.target, self.centred = target, centred

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar; 0 where there is one domain."""
        loss = self._excess(batch.every)
        if self.centred:
            loss = (loss + self._excess(batch.every - batch.every.mean(0))) / 2
        return loss

    def _excess(self, every: Tensor) -> Tensor:
        first, second = torch.triu_indices(every.shape[1], every.shape[1], 1, device=every.device)
        unit = normalize(every, dim=2, eps=LEAST_NORM)
        similarity = (unit.index_select(1, first) * unit.index_select(1, second)).sum(2)
        return (similarity - self.target).relu().square().sum(1).mean() / max(1, len(first))


class DomainRanking(ConditionLoss):
    """Rank the items of the domain by the condition: its item of the user above others, for users who have one there.

        mean of -log exp(c . p / t) / (exp(c . p / t) + sum_k exp(c . n_k / t))

    With one negative and t = 1 this is Bayesian personalised ranking.

    Args:
        weight: of this loss, above 0.
        temperature: t, above 0.

    Raises:
        InputError: an argument is not above 0.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(weight)
        _refuse_temperature(self, temperature)
        self.temperature = temperature

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar; 0 where no user of the batch has an item in its domain."""
        compared = torch.cat([batch.positive[:, None], batch.negative], 1)
        scores = torch.einsum("bd,bkd->bk", batch.condition, compared) / self.temperature
        return _mean(scores.logsumexp(1) - scores[:, 0], batch.known)


class DomainContrastive(ConditionLoss):
    """Find the user's item among those of other users of the batch in the same domain, by cosine to the condition.

        mean of -log softmax_j(cos(c_b, p_j) / t)_b,    over j of b's domain with an item, other than b's own item

    Items that b's user has in train too are not left out: where another user's p_j is one of these, it counts as a
    negative. Popular items are what others have, so this speaks against them: with a large weight, conditions rank
    worse.

    Args:
        weight: of this loss, above 0.
        temperature: t, above 0.

    Raises:
        InputError: an argument is not above 0.
    """

    def __init__(self, weight: float = 0.1, temperature: float = 0.1) -> None:
        super().__init__(weight)
        _refuse_temperature(self, temperature)
        self.temperature = temperature

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar; 0 where no user of the batch has an item in its domain."""
        unit = normalize(batch.condition, dim=1, eps=LEAST_NORM)
        logits = unit @ normalize(batch.positive, dim=1, eps=LEAST_NORM).T / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        apart = (batch.item[:, None] != batch.item) & (batch.domain[:, None] == batch.domain) & batch.known
        logits = logits.masked_fill(~(apart | (own[:, None] == own)), -torch.inf)
        return _mean(cross_entropy(logits, own, reduction="none"), batch.known)


class CrossCovariance(ConditionLoss):
    """Say nothing of tastes that matter in other domains alone.

        mean over domains d of max(0, (x_d - e_d) / (1 - e_d)),    e_d = tr((C_d + l I)^(-1) C_d) / (n - 1)
        x_d = || (C_d + l I)^(-1/2) cov(condition_d, f_d) ||_F^2 / tr(cov(f_d)),    l = r tr(C_d) / D
        C_d = cov(condition_d),    f_d = F_d^T user,    all over the n users of the batch

    As conditions are whitened, x_d is the share of f_d's variance that the best linear reading of condition_d explains,
    the R^2 of a ridge regression: it does not fall by making what is told small. e_d, D / (n - 1) if no condition is
    redundant, is what x_d comes to where the two are independent, and is taken away as from an adjusted R^2. No
    gradient goes through it. A user who comes twice counts once. The loss is 0, with a warning, where n < 2 D.

    The columns of F_d are made once from the frozen vectors; see `foreign`.

    Args:
        weight: of this loss, above 0.
        ratio: how much more than the domain's own items those of others must lie along a direction, above 1.
        ridge: r, above 0.

    Raises:
        InputError: an argument is out of its range.
    """

    directions: Tensor | None = None  # (M, D, R), columns of zeros after the R_d of a domain

    def __init__(self, weight: float = 4.0, ratio: float = 3.0, ridge: float = 1e-3) -> None:
        super().__init__(weight)
        if not (ratio > 1 and ridge > 0):
            raise InputError(
                f"CrossCovariance needs a ratio above 1 and a ridge above 0, and was given {ratio} and {ridge}."
            )
        self.ratio, self.ridge = ratio, ridge

    @torch.no_grad()
    def prepare(self, user: Tensor, item: Tensor, domain: Tensor) -> None:
        """Find the directions that are foreign to each domain."""
        own = [domain == code for code in range(int(domain.max()) + 1)]
        item = item.clone()
        for here in own:
            item[here] -= item[here].mean(0)
        found = [foreign(user, item[~here], item[here], self.ratio) for here in own]
        widest = max(1, *(part.shape[1] for part in found))
        self.directions = torch.stack([nn.functional.pad(part, (0, widest - part.shape[1])) for part in found])
        if not self.directions.any():
            warnings.warn(
                f"Along no direction do the items of one domain lie {self.ratio:g} times as much as those of others: "
                "CrossCovariance has nothing to take away and stays 0. Leave it out, or lower its ratio.",
                stacklevel=2,
            )

    def forward(self, batch: Conditions) -> Tensor:
        """A scalar."""
        assert self.directions is not None, "prepare comes first"
        with torch.autocast(batch.user.device.type, enabled=False):
            _, which, times = torch.unique(batch.who, return_inverse=True, return_counts=True)
            users, dim = len(times), batch.user.shape[1]
            told = batch.every.transpose(0, 1).to(self.directions.dtype)  # (M, B, D)
            if users < 2 * dim:
                warnings.warn(
                    f"CrossCovariance compares {2 * dim} or more users, and a batch holds fewer: it stays 0 there. "
                    "Set data.batch_size higher, or leave it out.",
                    stacklevel=2,
                )
                return told.sum() * 0.0
            share = (1 / times[which] / users).to(told.dtype)[:, None]  # of each sample
            untold = batch.user.to(told.dtype) @ self.directions  # (M, B, R)
            told, untold = (share.sqrt() * (rows - (share * rows).sum(1, keepdim=True)) for rows in (told, untold))
            own, both = told.mT @ told, told.mT @ untold
            least = own.diagonal(dim1=1, dim2=2).mean(1) * self.ridge + torch.finfo(own.dtype).eps
            eye = torch.eye(dim, dtype=own.dtype, device=own.device)
            root = torch.linalg.cholesky_ex(own + least[:, None, None] * eye).L
            read = torch.linalg.solve_triangular(root, both, upper=False).square().sum((1, 2))
            read = read / untold.square().sum((1, 2)).clamp(min=torch.finfo(own.dtype).eps)
            with torch.no_grad():
                penalty = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False).square().sum((1, 2))
                chance = (dim - least * penalty) / (users - 1)
        loss: Tensor = ((read - chance) / (1 - chance)).relu().mean()
        return loss


def refuse_contradictions(losses: Sequence[ConditionLoss]) -> None:
    """Refuse targets that no conditions can meet, and losses that come twice.

    Conditions at an angle of at most a to their user are at an angle of at most 2 a to one another.

    Raises:
        InputError: there are such.
    """
    names = [loss.name for loss in losses]
    for loss in losses:
        if names.count(loss.name) > 1:
            raise InputError(f"model.losses names {type(loss).__name__} twice. Leave one out.")
    for first, second in combinations(losses, 2):
        for keep, part in ((first, second), (second, first)):
            if isinstance(keep, Cosine) and isinstance(part, Diversity) and 2 * keep.widest < acos(part.target):
                raise InputError(
                    f"No conditions have a cosine of {keep.target:g} - {keep.tolerance:g} to their user and of "
                    f"{part.target:g} to one another: acos({keep.target - keep.tolerance:g}) twice is less than "
                    f"acos({part.target:g}). Set Diversity's target to at least {_least(keep.widest):.2f}, or Cosine's "
                    "lower."
                )


def _least(widest: float) -> float:
    """The least cosine, in hundredths, of two conditions that are at an angle of at most `widest` to their user."""
    hundredths = ceil(100 * cos(min(pi, 2 * widest)))
    if 2 * widest < acos(hundredths / 100):  # by rounding
        hundredths += 1
    return hundredths / 100


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of values (B,) over those that count (B,); 0 where none does."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)


def _refuse_temperature(loss: ConditionLoss, temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"{type(loss).__name__} needs a temperature above 0, and was given {temperature}.")
