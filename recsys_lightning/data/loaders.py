"""Loaders: index batches cut out of resident tensors, a slice at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

from torch import Tensor

from recsys_lightning.batches import CSR, PairBatch, RankingBatch
from recsys_lightning.data.epoch_loader import SampleLoader
from recsys_lightning.data.negatives import NegativeSampler


class PairLoader(SampleLoader[PairBatch]):
    """Shuffled positive pairs with negatives, for training.

    Pairs of users who have every item are left out, with a warning.

    Args:
        user: (N,) of the pairs; on any device, where batches then lie too.
        item: (N,) of the pairs.
        negatives: prepared on the same pairs and device.
        batch_size: pairs in a batch of one rank; the last batch of an epoch may be smaller.
        seed: of order and negatives.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        user: Tensor,
        item: Tensor,
        negatives: NegativeSampler,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        hopeless = negatives.saturated[user]
        if lost := int(hopeless.sum()):
            users = int(negatives.saturated.sum())
            warnings.warn(
                f"{users} users have every item, so no negative exists for their {lost} train rows; "
                "these rows are left out of training.",
                stacklevel=2,
            )
            user, item = user[~hopeless], item[~hopeless]
        super().__init__(len(user), batch_size, seed, user.device, rank, world_size)
        self.user, self.item, self.negatives = user, item, negatives

    def batch(self, epoch: int, step: int, order: Tensor) -> PairBatch:
        """The batch of a step."""
        pairs = order[step * self.batch_size : (step + 1) * self.batch_size]
        user, item = self.user[pairs], self.item[pairs]
        negative = self.negatives.draw(user, item, self.generator(epoch, self.rank, step))
        log_q = self.negatives.log_q
        return PairBatch(user, item, negative, log_q[item], log_q[negative])


class RankingLoader:
    """Users to rank for, in order, with what they have seen and what is looked for.

    Ranks take every `world_size`-th user, so each user is ranked exactly once and shares may differ in size.

    Args:
        user: (M,) users to rank for.
        seen: items to leave out, (U rows).
        relevant: items to find, (U rows).
        batch_size: users in a batch.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, user: Tensor, seen: CSR, relevant: CSR, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.user = user[rank::world_size]
        self.seen, self.relevant, self.batch_size = seen, relevant, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.user) / self.batch_size)

    def __iter__(self) -> Iterator[RankingBatch]:
        for first in range(0, len(self.user), self.batch_size):
            user = self.user[first : first + self.batch_size]
            yield RankingBatch(user, self.seen.select(user), self.relevant.select(user))
