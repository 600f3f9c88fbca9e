"""Loaders of data of several domains: each batch is of one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, PairBatch, RankingBatch
from recsys_lightning.data.loaders import PairLoader, RankingLoader


class DomainPairLoader:
    """Batches of positive pairs with negatives, each of one domain, in a random order of the domains.

    A pass goes over the pairs of every domain once, so a domain has as many steps as its pairs fill. Positives and
    their negatives are of the same domain: the loss of a step is the ranking loss of one domain, and over a pass they
    add up. The order of a pass is a pure function of (seed, epoch), the same on all ranks; see `PairLoader`.

    Args:
        parts: a loader of each domain, of items by their place in the domain.
        members: (I_d,) the items of each domain, by place.
        seed: of the order.
    """

    def __init__(self, parts: Sequence[PairLoader], members: Sequence[Tensor], seed: int) -> None:
        self.parts, self.members, self.seed = list(parts), list(members), seed
        self.epoch = 0
        self._done = [0] * len(self.parts)

    @property
    def sampler(self) -> DomainPairLoader:
        """What Lightning calls `set_epoch` on."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming pass."""
        if epoch != self.epoch:
            self._done = [0] * len(self.parts)
        self.epoch = epoch
        for part in self.parts:
            part.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of one rank in a whole epoch."""
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[PairBatch]:
        """A pass over this rank's pairs, or what is left of it after `load_state_dict`."""
        epoch = self.epoch
        passes = [iter(part) for part in self.parts]
        done = self._done = [part.handed_out(epoch) for part in self.parts]
        for code in self._order(epoch)[sum(done) :]:
            batch, items = next(passes[code]), self.members[code]
            done[code] += 1
            yield batch._replace(item=items[batch.item], negative=items[batch.negative])
        for left in passes:  # a domain that was through before a resume has not heard yet that it is over
            next(left, None)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches of each domain were handed out."""
        return {"epoch": self.epoch, "batches": list(self._done)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on behind the batches of the state, if it is a pass of the same epoch."""
        self.epoch, self._done = state["epoch"], list(state["batches"])
        for part, batches in zip(self.parts, self._done, strict=True):
            part.load_state_dict({"epoch": self.epoch, "batches": batches})

    def _order(self, epoch: int) -> list[int]:
        """The domain of each step."""
        word = hashlib.blake2b(repr((self.seed, "domains", epoch)).encode(), digest_size=8).digest()
        random = torch.Generator().manual_seed(int.from_bytes(word, "little") >> 1)
        steps = torch.cat([torch.full((len(part),), code) for code, part in enumerate(self.parts)])
        order: list[int] = steps[torch.randperm(len(steps), generator=random)].tolist()
        return order


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


def within(rows: CSR, items: Tensor) -> CSR:
    """The entries that are among items (n,), one or more and ascending, by their place among them."""
    place = torch.searchsorted(items, rows.col).clamp_max(len(items) - 1)
    inside = items[place] == rows.col
    before = torch.cat([rows.crow.new_zeros(1), inside.cumsum(0)])
    return CSR(before[rows.crow], place[inside])
