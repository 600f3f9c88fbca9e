"""Sampled candidates: the protocol "relevant items + m random others", kept for comparison with papers that used it.

Sampled figures are not estimates of full-ranking figures and can reverse the order of models (Krichene and Rendle,
KDD 2020), so they never go without their name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_lightning.metrics.ranking import find_hits


class Candidates(nn.Module):
    """Draws random items for users: the same ones for every model, batch size, device and number of processes.

    A seeded random permutation of the items is walked by each user from a start and with a stride of their own, until
    enough items are found. As strides have no common factor with I, nothing comes twice; over seeds, each user's items
    are a uniform random set.

    Args:
        num_items: I.
        count: m, items drawn for each user.
        seed: of the draw.
    """

    order: Tensor
    strides: Tensor

    def __init__(self, num_items: int, count: int, seed: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.count = count
        self.seed = seed & 0x7FFFFFFF
        steps = torch.arange(1, num_items + 1)
        order = torch.randperm(num_items, generator=torch.Generator().manual_seed(self.seed ^ 0x2545F491))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("strides", steps[steps.gcd(steps.new_tensor(num_items)) == 1], persistent=False)

    def walk(self, user: Tensor, length: int) -> Tensor:
        """The first items that each user comes by, (B, length), no two of them alike; length is at most I."""
        key = _mix(user.long() + 1) ^ _mix(torch.full_like(user, self.seed, dtype=torch.long))
        start, stride = _mix(key), self.strides[_mix(key ^ 0x5BD1E995) % len(self.strides)]
        steps = torch.arange(length, device=user.device)
        walked: Tensor = self.order[(start[:, None] + stride[:, None] * steps) % self.num_items]
        return walked

    def keep(self, scores: Tensor, user: Tensor, seen: Tensor, relevant: Tensor) -> None:
        """Keep the scores of relevant items and of m others that are not seen either; the rest become -inf.

        All others stay where there are less than m.

        Args:
            scores: (B, I), contiguous, changed in place.
            user: (B,).
            seen: keys of the seen pairs, see `ranking.pair_keys`.
            relevant: keys of the relevant pairs.
        """
        barred = torch.cat([seen, relevant]).sort().values
        most = int(torch.bincount(barred // self.num_items, minlength=1).max())  # so many may be passed over
        item = self.walk(user, min(self.count + most, self.num_items))
        free = ~find_hits(item, barred, self.num_items)
        drawn = free & (free.cumsum(1) <= self.count)
        flat = scores.view(-1)
        of_drawn = scores.gather(1, item).masked_fill(~drawn, -torch.inf)
        of_relevant = flat[relevant]
        scores.fill_(-torch.inf).scatter_(1, item, of_drawn)
        flat[relevant] = of_relevant


def _mix(x: Tensor) -> Tensor:
    """Spread int64 numbers below 2^32 over that range, one to one; every step stays below 2^63."""
    for _ in range(2):
        x = (x ^ (x >> 16)).mul_(0x45D9F3B).bitwise_and_(0xFFFFFFFF)
    return x ^ (x >> 16)
