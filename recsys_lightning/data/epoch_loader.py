"""What loaders of training share: passes of random order that can be left in the middle and gone on with."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from recsys_lightning.errors import InputError

Batch = TypeVar("Batch")
Order = TypeVar("Order")


class EpochLoader(ABC, Generic[Order, Batch]):
    """Passes over the same samples, in another order each epoch.

    The batch of a step is a pure function of (seed, epoch, rank, step): a loader whose state was saved in mid-epoch
    goes on with exactly the batches that remain. It is its own `sampler`, so that Lightning tells it the epoch.

    Args:
        seed: of all that is drawn.
        device: where it is drawn.
    """

    KEY: tuple[str, ...] = ()
    """Sets the draws of a kind of loader apart from those of another with the same seed."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.epoch = 0
        self._done = 0
        self._resume: tuple[int, int] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Batches of one rank in a whole epoch."""

    @abstractmethod
    def order(self, epoch: int) -> Order:
        """What of this rank comes after what in an epoch."""

    @abstractmethod
    def batch(self, epoch: int, step: int, order: Order) -> Batch:
        """The batch of a step."""

    @property
    def sampler(self) -> Self:
        """What Lightning calls `set_epoch` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming pass."""
        if epoch != self.epoch:
            self._done = 0
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        """A pass over this rank's samples, or what is left of it after `load_state_dict`."""
        # a generator: Lightning calls iter() before set_epoch(), and the first batch is asked for after it
        epoch = self.epoch
        first = self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0
        self._resume = None
        order = self.order(epoch)
        for step in range(first, len(self)):
            self._done = step + 1
            yield self.batch(epoch, step, order)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were handed out, of how many."""
        return {"epoch": self.epoch, "batches": self._done, "of": len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on behind the batches of the state, if it is a pass of the same epoch.

        Raises:
            InputError: the epoch was left in its middle, and had other batches.
        """
        if 0 < state["batches"] < state["of"] != len(self):
            raise InputError(
                f"The checkpoint was written after {state['batches']} of {state['of']} batches of an epoch, which now "
                f"has {len(self)}: some rows would be trained on twice and others not at all. Go on with the number of "
                "processes and the batch size of that run, or from a checkpoint of the end of an epoch."
            )
        self._resume = (state["epoch"], state["batches"])
        self.epoch, self._done = self._resume

    def generator(self, *key: int) -> torch.Generator:
        """Random numbers of their own for each key."""
        word = hashlib.blake2b(repr((self.seed, *self.KEY, *key)).encode(), digest_size=8).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(word, "little") >> 1)


class SampleLoader(EpochLoader[Tensor, Batch]):
    """Passes over N samples in a shuffled order that ranks share out.

    The order is continued from its beginning until all ranks have equally many samples.

    Args:
        size: N.
        batch_size: most samples in a batch of one rank.
        seed: of all that is drawn.
        device: where it is drawn.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(seed, device)
        self.size, self.batch_size, self.rank, self.world_size = size, batch_size, rank, world_size

    @property
    def share(self) -> int:
        """Samples of one rank."""
        return math.ceil(self.size / self.world_size)

    def __len__(self) -> int:
        """Batches of one rank in a whole epoch."""
        return math.ceil(self.share / self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """(share,) samples of this rank in the order of the epoch."""
        shuffled = torch.randperm(self.size, generator=self.generator(epoch), device=self.device)
        if self.world_size == 1:
            return shuffled
        place = torch.arange(self.share, device=self.device) * self.world_size + self.rank
        return shuffled[place % max(1, self.size)]
