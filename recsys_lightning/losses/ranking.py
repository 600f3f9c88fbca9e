"""Losses on scores of positives and their negatives.

Everywhere `positive` is (B,) and `negative` is (B, N); a negative score of -inf marks a slot that does not count, and
gives no gradient. Any other value that is not finite passes through to the loss, so that training can stop on it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, softplus

from recsys_lightning.batches import PairBatch
from recsys_lightning.errors import InputError

LEAST_NORM = 1e-3
"""Shorter vectors count as so long in cosines, whose gradient is without bound where a vector vanishes."""


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of -log sigmoid(positive - negative) over the pairs that count.

    Source: Rendle et al., arXiv 1205.2618.
    """
    return _mean(softplus(negative - positive[:, None]), negative)


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over positives and the mean over negatives weighing one half each.

    With one negative for each positive this is the plain mean over all scores. With more, or with negatives shared
    by the batch, the plain mean would let the number of negatives decide how little a positive weighs.
    """
    return (softplus(-positive).mean() + _mean(softplus(negative), negative)) / 2


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    temperature: float = 1.0,
    positive_log_q: Tensor | None = None,
    negative_log_q: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each positive against its own negatives, mean over the batch.

    Logits are `score / temperature - log_q`: where items are drawn as negatives with probability q, subtracting log q
    makes the sum over the sample estimate the sum over the catalogue (Bengio and Senecal 2008; for negatives of the
    batch, positives included: Yi et al., RecSys 2019). Without log_q nothing is corrected.

    Args:
        positive: (B,) scores.
        negative: (B, N) scores.
        temperature: divides the scores; below 1 the hardest negatives weigh more.
        positive_log_q: (B,) log-probability that the sampler draws the positive.
        negative_log_q: log-probability of each negative, (B, N) or (N,).
    """
    first, rest = positive, negative
    if temperature != 1:  # a pass over B x N scores, and another one back
        first, rest = first / temperature, rest / temperature
    if positive_log_q is not None:
        first = first - positive_log_q
    if negative_log_q is not None:
        # an empty slot may hold any log_q, -inf too, and -inf - -inf would be NaN
        rest = rest - negative_log_q.clamp(min=torch.finfo(negative_log_q.dtype).min)
    return (torch.cat([first[:, None], rest], dim=1).logsumexp(1) - first).mean()


def info_nce(left: Tensor, right: Tensor, user: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy of finding each user's other view among those of the batch, mean over both directions.

        -1/2B sum_b [log softmax_c(s_bc / t)_b + log softmax_c(s_cb / t)_b],    s_bc = cos(left_b, right_c)

    Where the same user comes twice in a batch, neither row is a negative of the other.

    Source: van den Oord et al., arXiv 1807.03748; in both directions as in CLIP, arXiv 2103.00020.

    Args:
        left: (B, D) one view.
        right: (B, D) the other.
        user: (B,) whose they are.
        temperature: divides the cosines.
    """
    left, right = (normalize(view, dim=-1, eps=LEAST_NORM) for view in (left, right))
    logits = left @ right.T / temperature
    own = torch.arange(len(user), device=user.device)
    same = (user[:, None] == user) & (own[:, None] != own)
    logits = logits.masked_fill(same, -torch.inf)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def _mean(terms: Tensor, negative: Tensor) -> Tensor:
    """Mean of terms over the negatives that count; empty slots hold terms of 0. No negative at all gives 0."""
    return terms.sum() / (negative != -torch.inf).sum().clamp(min=1)


class Loss(nn.Module):
    """A loss on the scores of one training batch."""

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        """Scores (B,) and (B, N), and the batch that they belong to -> scalar."""
        raise NotImplementedError


class BPR(Loss):
    """`bpr`, Bayesian personalised ranking."""

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        """Scores (B,) and (B, N) -> scalar."""
        return bpr(positive, negative)


class BCE(Loss):
    """`bce`, binary cross-entropy."""

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        """Scores (B,) and (B, N) -> scalar."""
        return bce(positive, negative)


class SampledSoftmax(Loss):
    """`sampled_softmax`, cross-entropy of the positive against the batch's negatives.

    Args:
        temperature: divides the scores, above 0.
        logq: correct for the probability with which the sampler draws each item.

    Raises:
        InputError: the temperature is not above 0.
    """

    def __init__(self, temperature: float = 1.0, logq: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f"SampledSoftmax needs a temperature above 0, and was given {temperature}.")
        self.temperature = temperature
        self.logq = logq

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        """Scores (B,) and (B, N) -> scalar."""
        if not self.logq:
            return sampled_softmax(positive, negative, self.temperature)
        return sampled_softmax(positive, negative, self.temperature, batch.item_log_q, batch.negative_log_q)


class Contrastive(nn.Module):
    """`info_nce` between the two views of the batch's users, times a weight.

    Args:
        weight: of this loss beside the ranking loss, above 0.
        temperature: above 0.

    Raises:
        InputError: an argument is not above 0.
    """

    def __init__(self, weight: float = 0.1, temperature: float = 0.1) -> None:
        super().__init__()
        if not (weight > 0 and temperature > 0):
            raise InputError(
                f"Contrastive needs a weight and a temperature above 0, and was given {weight} and {temperature}."
            )
        self.weight = weight
        self.temperature = temperature

    def forward(self, left: Tensor, right: Tensor, user: Tensor) -> Tensor:
        """Views (B, D), (B, D) of users (B,) -> scalar."""
        return self.weight * info_nce(left, right, user, self.temperature)
