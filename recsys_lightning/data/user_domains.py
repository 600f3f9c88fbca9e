"""Loader of users in domains: every user once in each, with an item of theirs where they have one there."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, UserDomainBatch
from recsys_lightning.data.domain_loaders import within
from recsys_lightning.data.negatives import Uniform


class UserDomainLoader:
    """Shuffled samples (user, domain) with an item and negatives of that domain, for training.

    Every user with a train row anywhere comes once a domain and pass. The item is drawn anew each time: one of the
    user's train items in the domain, or, with `known` False, any item of the domain where the user has none there.
    The batch of a step is a pure function of (seed, epoch, rank, step), and ranks share one order: see `PairLoader`.
    Users who have every item of a domain are left out there, with a warning, as no negative exists.

    Args:
        train: items of each user (U rows); on any device, where batches then lie too.
        known: what users have and so is no negative for them, (U rows).
        members: (I_d,) the items of each domain, ascending.
        batch_size: samples in a batch of one rank; the last batch of an epoch may be smaller.
        negatives: K, of each sample.
        seed: of order, items and negatives.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        train: CSR,
        known: CSR,
        members: Sequence[Tensor],
        batch_size: int,
        negatives: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.members, self.batch_size, self.seed = list(members), batch_size, seed
        self.rank, self.world_size = rank, world_size
        self._own = [within(train, items) for items in self.members]
        self._samplers = []
        for items in self.members:
            sampler = Uniform(negatives)
            sampler.prepare(train, len(items), within(known, items))
            self._samplers.append(sampler)
        users = train.degree.nonzero()[:, 0]
        free = torch.stack([~sampler.saturated[users] for sampler in self._samplers], 1)
        place = free.nonzero()
        self.user, self.domain = users[place[:, 0]], place[:, 1]
        if lost := free.numel() - len(self.user):
            warnings.warn(
                f"{lost} times a user has every item of a domain, so no negative exists; these are left out of "
                "training there.",
                stacklevel=2,
            )
        self.epoch = 0
        self._done = 0
        self._resume: tuple[int, int] | None = None

    @property
    def sampler(self) -> UserDomainLoader:
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

    def __iter__(self) -> Iterator[UserDomainBatch]:
        """A pass over this rank's samples, or what is left of it after `load_state_dict`."""
        epoch = self.epoch
        first = self._resume[1] if self._resume is not None and self._resume[0] == epoch else 0
        self._resume = None
        order = self._order(epoch)
        for step in range(first, len(self)):
            self._done = step + 1
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self._batch(self.user[chosen], self.domain[chosen], self._generator(epoch, self.rank, step))

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were handed out."""
        return {"epoch": self.epoch, "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on behind the batches of the state, if it is a pass of the same epoch."""
        self._resume = (state["epoch"], state["batches"])
        self.epoch, self._done = self._resume

    @property
    def _share(self) -> int:
        """Samples of one rank."""
        return math.ceil(len(self.user) / self.world_size)

    def _order(self, epoch: int) -> Tensor:
        """(share,) samples of this rank in the order of the epoch."""
        shuffled = torch.randperm(len(self.user), generator=self._generator(epoch), device=self.user.device)
        place = torch.arange(self._share, device=self.user.device) * self.world_size + self.rank
        return shuffled[place % max(1, len(shuffled))]

    def _batch(self, user: Tensor, domain: Tensor, generator: torch.Generator) -> UserDomainBatch:
        item, known, negative = torch.empty_like(user), torch.empty_like(user, dtype=torch.bool), []
        chance = torch.rand(len(user), generator=generator, device=user.device, dtype=torch.float64)
        place = torch.arange(len(user), device=user.device)
        parts = []
        for code, (items, own, sampler) in enumerate(zip(self.members, self._own, self._samplers, strict=True)):
            at = place[domain == code]
            count = own.degree[user[at]]
            known[at] = count > 0
            nth = (chance[at] * torch.where(count > 0, count, len(items))).long()
            picked = own.col[(own.crow[user[at]] + nth).clamp_max(max(0, len(own.col) - 1))] if len(own.col) else nth
            item[at] = items[torch.where(count > 0, picked, nth)]
            negative.append(items[sampler.draw(user[at], item[at], generator)])
            parts.append(at)
        back = torch.cat(parts).argsort()
        return UserDomainBatch(user, domain, item, known, torch.cat(negative)[back])

    def _generator(self, *key: int) -> torch.Generator:
        word = hashlib.blake2b(repr((self.seed, "users", *key)).encode(), digest_size=8).digest()
        return torch.Generator(self.user.device).manual_seed(int.from_bytes(word, "little") >> 1)
