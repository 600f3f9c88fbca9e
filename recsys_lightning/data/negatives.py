"""Negative samplers: vectorised, on the device of the data, and blind to all rows but train rows."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.errors import InputError

_WORD = 2**62


class NegativeSampler(ABC):
    """Draws what a positive is compared with: never by looking at val or test rows.

    `prepare` must be called once before `draw`.

    Attributes:
        log_q: (I,) log-probability that a draw hits each item, whoever the user is; finite.
        saturated: (U,) True for users who have every item, for whom no negative exists.
    """

    log_q: Tensor
    saturated: Tensor

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        """Build look-up tables from train rows, on their device.

        Args:
            train: positives.
            num_items: I.
            known: what users have and so is no negative for them: `train`, and rows that are no positives. `train`
                where None.
        """
        self.saturated = (known or train).degree >= num_items

    @abstractmethod
    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """Negatives for positive pairs (B,), (B,): (B, K), or (N,) shared by all.

        Args:
            user: none of them saturated.
            item: the positives.
            generator: on the device of the tables.
        """


class Uniform(NegativeSampler):
    """Every item the user has not, with equal probability: exact, without rejection.

    Of the ascending items p_0, p_1, ... of a user, p_j has p_j - j free items before it. So the r-th free item is
    r + #{j: p_j - j <= r}: one binary search in a table of all users.

    Args:
        count: K, negatives for each positive.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = _positive(count)

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        """Build look-up tables, on the device of the rows."""
        super().prepare(train, num_items, known)
        known = known or train
        row = known.row
        place = torch.arange(len(row), device=row.device) - known.crow[row]
        self._crow = known.crow
        self._stride = num_items + 1
        self._free_before = row * self._stride + known.col - place
        self._free = num_items - known.degree
        self.log_q = torch.full((num_items,), 1.0 / num_items, device=row.device).log()

    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """(B, K) negatives."""
        return self.draw_items(user[:, None].expand(-1, self.count), generator)

    def draw_items(self, user: Tensor, generator: torch.Generator) -> Tensor:
        """One item for each user, in any shape."""
        word = torch.randint(_WORD, user.shape, generator=generator, device=user.device)
        rank = word % self._free[user].clamp_min(1)
        before = torch.searchsorted(self._free_before, user * self._stride + rank, right=True) - self._crow[user]
        return rank + before


class Popularity(NegativeSampler):
    """Items with probability proportional to (train rows)^alpha, an item without rows counting as one row.

    Items that the user has are drawn again, a few times; what still collides is drawn uniformly from the user's free
    items. With alpha = 0.75 word2vec's noise distribution (arXiv 1310.4546).

    Args:
        count: K, negatives for each positive.
        alpha: 0 is uniform, 1 follows the popularity.
    """

    redraws = 4

    def __init__(self, count: int = 1, alpha: float = 0.75) -> None:
        self.count = _positive(count)
        self.alpha = alpha

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        """Build look-up tables, on the device of the rows."""
        super().prepare(train, num_items, known)
        known = known or train
        popularity = torch.bincount(train.col, minlength=num_items).clamp_min(1)
        probability = popularity.double() ** self.alpha
        probability /= probability.sum()
        self._cdf = probability.cumsum(0)
        self._num_items = num_items
        self._pairs = known.row * num_items + known.col
        self._uniform = Uniform()
        self._uniform.prepare(train, num_items, known)
        self.log_q = probability.log().float()

    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """(B, K) negatives."""
        user = user.repeat_interleave(self.count)
        drawn = self._draw_any(user, generator)
        slot = torch.arange(len(user), device=user.device)
        for attempt in range(self.redraws + 1):
            redraw = self._draw_any if attempt < self.redraws else self._uniform.draw_items
            collided = self._is_known(user[slot], drawn[slot])
            if user.is_cpu:
                slot = slot[collided]
                drawn[slot] = redraw(user[slot], generator)
            else:  # to pick the collided slots would make the host wait for the device
                drawn = torch.where(collided, redraw(user, generator), drawn)
        return drawn.view(-1, self.count)

    def _draw_any(self, user: Tensor, generator: torch.Generator) -> Tensor:
        number = torch.rand(user.shape, generator=generator, device=user.device, dtype=torch.float64)
        return torch.searchsorted(self._cdf, number, right=True).clamp_max(self._num_items - 1)

    def _is_known(self, user: Tensor, item: Tensor) -> Tensor:
        if not len(self._pairs):
            return torch.zeros_like(item, dtype=torch.bool)
        pair = user * self._num_items + item
        place = torch.searchsorted(self._pairs, pair).clamp_max(len(self._pairs) - 1)
        return self._pairs[place] == pair


class InBatch(NegativeSampler):
    """The positives of the batch serve as negatives of all its users.

    Other items that a user has in train, liked or not, are among them, as in a softmax over the whole catalogue, which
    this samples (Yi et al., RecSys 2019; correct for their popularity with `logq`). Only the positive itself is masked,
    where it comes again.
    """

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        """Build look-up tables, on the device of the rows."""
        super().prepare(train, num_items, known)
        popularity = torch.bincount(train.col, minlength=num_items).clamp_min(1)
        self.log_q = (popularity / max(1, len(train.col))).log()

    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """(N,) the batch's items."""
        return item


def _positive(count: int) -> int:
    if count < 1:
        raise InputError(f"count: {count} draws no negatives. Say count: 1 or more.")
    return count
