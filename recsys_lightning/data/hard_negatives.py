"""Negatives that the model itself ranks high, from a table that is made anew every few epochs."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.data.negatives import NegativeSampler, Uniform
from recsys_lightning.errors import InputError


class HardNegatives(NegativeSampler):
    """Some negatives from the items that the model ranks highest for the user, the others uniformly.

    The task ranks all items that a user has not in train, and hands a table of them over: at the start of an epoch,
    every so many epochs. Before the first table, and for users without candidates, all draws are uniform.

    The table goes into checkpoints (4 bytes for each user and candidate), so that a resumed run draws what it would
    have drawn. Which items are hard depends on the user, so no log-probability holds for all: `log_q` is that of the
    uniform draws, equal for all items, and a loss that corrects by it corrects nothing.

    Source: Xiong et al., arXiv 2007.00808 (negatives of a periodically refreshed index).

    Args:
        count: K, negatives for each positive.
        hard: so many of them are hard.
        pool: candidates kept for each user, from which the hard ones are drawn with equal probability.
        skip: so many items ranked above the candidates are left out, as they may be positives that nobody knows of.
        every: epochs from one table to the next; the first is made after so many.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, count: int = 5, hard: int = 1, pool: int = 100, skip: int = 10, every: int = 1) -> None:
        self._uniform = Uniform(count)
        if not 1 <= hard <= count:
            raise InputError(f"hard: {hard} negatives of {count} cannot be hard. Say hard: 1 to {count}.")
        if pool < 1 or skip < 0 or every < 1:
            raise InputError(f"pool: {pool}, skip: {skip}, every: {every}; at least 1, 0 and 1 are needed.")
        self.count, self.hard, self.pool, self.skip, self.every = count, hard, pool, skip, every
        self.table: Tensor | None = None  # (U, pool) int32, -1 behind a user's last candidate
        self.epoch = 0

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        """Build look-up tables, on the device of the rows; candidates that were loaded stay."""
        super().prepare(train, num_items, known)
        self._uniform.prepare(train, num_items, known)
        self.log_q = self._uniform.log_q
        self.known = known or train
        if self.table is not None:
            self.refresh(self.table.to(self.log_q.device), self.epoch)

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch must begin with another table than there is."""
        if epoch < self.epoch:  # another training begins
            self.table, self.epoch = None, 0
        return epoch > self.epoch and epoch % self.every == 0

    def refresh(self, table: Tensor, epoch: int) -> None:
        """Draw from another table.

        Args:
            table: (U, pool) int32 candidates of each user; -1 behind the last one.
            epoch: that begins with it.
        """
        self.table, self.epoch = table, epoch
        self._size = (table >= 0).sum(1)

    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """(B, K) negatives, the hard ones first."""
        drawn = self._uniform.draw(user, item, generator)
        if self.table is None:
            return drawn
        size = self._size[user, None]
        place = torch.randint(2**62, (len(user), self.hard), generator=generator, device=user.device)
        picked = self.table[user[:, None], place % size.clamp_min(1)]
        drawn[:, : self.hard] = torch.where(size > 0, picked, drawn[:, : self.hard])
        return drawn

    def state_dict(self) -> dict[str, Tensor | int | None]:
        """What a checkpoint holds."""
        return {"table": self.table, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Tensor | int | None]) -> None:
        """Go on with the table of a checkpoint; `prepare` comes after."""
        table, epoch = state["table"], state["epoch"]
        assert isinstance(epoch, int) and not isinstance(table, int)
        self.table, self.epoch = table, epoch
