"""Loader of users in domains: every user once in each, with an item of theirs where they have one there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, UserDomainBatch
from recsys_lightning.data.epoch_loader import SampleLoader
from recsys_lightning.data.negatives import Uniform


class UserDomainLoader(SampleLoader[UserDomainBatch]):
    """Shuffled samples (user, domain) with an item and negatives of that domain, for training.

    Every user with a train row anywhere comes once a domain and pass. The item is drawn anew each time: one of the
    user's train items in the domain, or, with `known` False, any item of the domain where the user has none there.
    Users who have every item of a domain are left out there, with a warning, as no negative exists.

    Args:
        train: items of each user (U rows); on any device, where batches then lie too.
        known: what users have and so is no negative for them, (U rows).
        members: (I_d,) the items of each domain, ascending.
        batch_size: most samples in a batch of one rank; all batches are of one size, give or take one.
        negatives: K, of each sample.
        seed: of order, items and negatives.
        rank: of this process.
        world_size: number of processes.
    """

    KEY = ("users",)

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
        self.members = list(members)
        self._own = [train.within(items) for items in self.members]
        self._samplers = []
        for items in self.members:
            sampler = Uniform(negatives)
            sampler.prepare(train, len(items), known.within(items))
            self._samplers.append(sampler)
        users = train.degree.nonzero()[:, 0]
        free = torch.stack([~sampler.saturated[users] for sampler in self._samplers], 1)
        place = free.nonzero()
        self.user, self.domain = users[place[:, 0]], place[:, 1]
        if lost := free.numel() - len(self.user):
            warnings.warn(
                f"{lost} times a user has every item of a domain, so no negative exists; these are left out there.",
                stacklevel=2,
            )
        super().__init__(len(self.user), batch_size, seed, self.user.device, rank, world_size)

    def batch(self, epoch: int, step: int, order: Tensor) -> UserDomainBatch:
        """The batch of a step; sizes differ by at most 1, as a step of a few samples would weigh as much as any."""
        chosen = order[len(order) * step // len(self) : len(order) * (step + 1) // len(self)]
        return self._with_items(self.user[chosen], self.domain[chosen], self.generator(epoch, self.rank, step))

    def _with_items(self, user: Tensor, domain: Tensor, generator: torch.Generator) -> UserDomainBatch:
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
