"""Loaders: index batches cut out of resident tensors, a slice at a time."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, PairBatch, RankingBatch
from recsys_lightning.data.negatives import NegativeSampler


class PairLoader:
    """Shuffled positive pairs with negatives, for training.

    The batch of a step is a pure function of (seed, epoch, rank, step): a loader whose state was saved in mid-epoch
    goes on with exactly the batches that remain. Ranks share out one shuffled order; the order is continued from its
    beginning until all ranks have equally many pairs. Pairs of users who have every item are left out, with a warning.

    It is its own `sampler`, so that Lightning tells it the epoch.

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
        self.user, self.item, self.negatives = user, item, negatives
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.epoch = 0
        self._done = 0
        self._resume: tuple[int, int] | None = None

    @property
    def sampler(self) -> PairLoader:
        """What Lightning calls `set_epoch` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming pass."""
        if epoch != self.epoch:
            self._done = 0
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of one rank in a whole epoch."""
        return math.ceil(self._share / self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        """A pass over this rank's pairs, or what is left of it after `load_state_dict`."""
        # a generator: Lightning calls iter() before set_epoch(), and the first batch is asked for after it
        epoch = self.epoch
        first, self._resume = self.handed_out(epoch), None
        order = self._order(epoch)
        for step in range(first, len(self)):
            self._done = step + 1
            yield self._batch(epoch, step, order)

    def handed_out(self, epoch: int) -> int:
        """Batches of that epoch that a coming pass leaves out, as they were handed out before a resume."""
        return self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were handed out."""
        return {"epoch": self.epoch, "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on behind the batches of the state, if it is a pass of the same epoch."""
        self._resume = (state["epoch"], state["batches"])
        self.epoch, self._done = self._resume

    @property
    def _share(self) -> int:
        """Pairs of one rank."""
        return math.ceil(len(self.user) / self.world_size)

    def _order(self, epoch: int) -> Tensor:
        """(share,) pairs of this rank in the order of the epoch."""
        shuffled = torch.randperm(len(self.user), generator=self._generator(epoch), device=self.user.device)
        if self.world_size == 1:
            return shuffled
        place = torch.arange(self._share, device=self.user.device) * self.world_size + self.rank
        return shuffled[place % max(1, len(shuffled))]

    def _batch(self, epoch: int, step: int, order: Tensor) -> PairBatch:
        pairs = order[step * self.batch_size : (step + 1) * self.batch_size]
        user, item = self.user[pairs], self.item[pairs]
        negative = self.negatives.draw(user, item, self._generator(epoch, self.rank, step))
        log_q = self.negatives.log_q
        return PairBatch(user, item, negative, log_q[item], log_q[negative])

    def _generator(self, *key: int) -> torch.Generator:
        word = hashlib.blake2b(repr((self.seed, *key)).encode(), digest_size=8).digest()
        return torch.Generator(self.user.device).manual_seed(int.from_bytes(word, "little") >> 1)


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
