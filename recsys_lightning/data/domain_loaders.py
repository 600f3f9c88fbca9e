"""Loaders of data of several domains: each batch is of one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, RankingBatch
from recsys_lightning.data.epoch_loader import EpochLoader
from recsys_lightning.data.loaders import PairLoader, RankingLoader


class Turns(NamedTuple):
    """What comes after what in a pass over several domains."""

    domain: list[int]  # of each step
    nth: list[int]  # of each step, the domain's steps before it
    pairs: list[Tensor]  # of each domain, its pairs in their order


class DomainPairLoader(EpochLoader[Turns, PairBatch]):
    """Batches of positive pairs with negatives, each of one domain, in a random order of the domains.

    A pass goes over the pairs of every domain once, so a domain has as many steps as its pairs fill. Positives and
    their negatives are of the same domain: the loss of a step is the ranking loss of one domain, and over a pass they
    add up. Which domain's turn it is, is the same on all ranks.

    Args:
        parts: a loader of each domain, of items by their place in the domain.
        members: (I_d,) the items of each domain, by place.
        seed: of the order.
    """

    KEY = ("domains",)

    def __init__(self, parts: Sequence[PairLoader], members: Sequence[Tensor], seed: int) -> None:
        super().__init__(seed, torch.device("cpu"))
        self.parts, self.members = list(parts), list(members)

    def __len__(self) -> int:
        """Batches of one rank in a whole epoch."""
        return sum(len(part) for part in self.parts)

    def order(self, epoch: int) -> Turns:
        """The turns of the domains, and the order of the pairs of each."""
        steps = torch.cat([torch.full((len(part),), code) for code, part in enumerate(self.parts)])
        domain: list[int] = steps[torch.randperm(len(steps), generator=self.generator(epoch))].tolist()
        counts = [count() for _ in self.parts]
        return Turns(domain, [next(counts[code]) for code in domain], [part.order(epoch) for part in self.parts])

    def batch(self, epoch: int, step: int, order: Turns) -> PairBatch:
        """The batch of a step."""
        code = order.domain[step]
        batch, items = self.parts[code].batch(epoch, order.nth[step], order.pairs[code]), self.members[code]
        return batch._replace(item=items[batch.item], negative=items[batch.negative])


class DomainRankingLoader:
    """Users to rank for in each domain, one domain after the other.

    Args:
        parts: a loader of the users of each domain.
    """

    def __init__(self, parts: Sequence[RankingLoader]) -> None:
        self.parts = list(parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[RankingBatch]:
        of_domains = ((batch._replace(domain=code) for batch in part) for code, part in enumerate(self.parts))
        return chain.from_iterable(of_domains)
