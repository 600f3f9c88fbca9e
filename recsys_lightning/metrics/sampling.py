"""Sampled candidates: the protocol "relevant items + m random others", kept for comparison with papers that used it.

Sampled figures are not estimates of full-ranking figures and can reverse the order of models (Krichene and Rendle,
KDD 2020), so they never go without their name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.metrics.ranking import top_k


def keep_sample(
    scores: Tensor, user: Tensor, seen: Tensor, relevant: Tensor, count: int, seed: int, priority: Tensor
) -> None:
    """Keep the scores of relevant items and of `count` random items neither seen nor relevant; all others become -inf.

    Which items are drawn depends on seed, user and what is seen and relevant only: it is the same for every model,
    batch size, device and number of processes. All of them are drawn where there are less than `count`.

    Args:
        scores: (B, I), contiguous, changed in place.
        user: (B,).
        seen: keys of the seen pairs, see `ranking.pair_keys`.
        relevant: keys of the relevant pairs.
        count: m.
        seed: of the draw.
        priority: (I,) settles equal random numbers, see `ranking.tie_priority`.
    """
    luck = noise(user, scores.shape[1], seed)
    luck.view(-1)[torch.cat([seen, relevant])] = -torch.inf
    drawn = top_k(luck, count, priority).item
    flat = scores.view(-1)
    of_relevant = flat[relevant]
    of_drawn = scores.gather(1, drawn.clamp(min=0)).masked_fill(drawn < 0, -torch.inf)
    scores.fill_(-torch.inf)
    scores.scatter_reduce_(1, drawn.clamp(min=0), of_drawn, "amax")  # empty slots point at item 0 and must not erase it
    flat[relevant] = of_relevant


def noise(user: Tensor, num_items: int, seed: int) -> Tensor:
    """Random numbers (B, I), float32 in [0, 1): a pure function of (seed, user, item), not of a generator's state."""
    item = torch.arange(num_items, device=user.device)
    of_seed = _mix(torch.tensor([seed & 0x7FFFFFFF], device=user.device))
    mixed = _mix(_mix(_mix(user.long() + 1) ^ of_seed)[:, None] ^ _mix(item + 0x5BD1E995))
    return mixed.float().div_(2**32).clamp_(max=1 - 2**-24)


def _mix(x: Tensor) -> Tensor:
    """Spread int64 numbers below 2^32 over that range, one to one; every step stays below 2^63."""
    for _ in range(2):
        x = (x ^ (x >> 16)).mul_(0x45D9F3B).bitwise_and_(0xFFFFFFFF)
    return x ^ (x >> 16)
