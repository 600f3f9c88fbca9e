"""What checks look at, and what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import gather
from recsys_lightning.schema import GIVEN, ITEM_ID, SPLITS, TEST, TRAIN, USER_ID, VAL

EXAMPLES = 5
"""Most examples of a finding."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        count: how often it occurs.
        message: a sentence for people.
        examples: a few raw ids or titles.
        fault: whether figures of these data are wrong by it; else it is a remark, for the reader to weigh.
    """

    count: int
    message: str
    examples: tuple[str, ...] = ()
    fault: bool = True


Found = list[Finding] | str
"""What a check finds; a text says why there is nothing to check."""


@dataclass(frozen=True, eq=False)
class Case:
    """Prepared data, and what was asked of them.

    Attributes:
        prepared: the data.
        recipe: that they were prepared by.
        used: item columns that models are given, beside the titles.
    """

    prepared: Prepared
    recipe: Recipe
    used: tuple[str, ...] = ()

    @property
    def rows(self) -> Interactions:
        """The interactions."""
        return self.prepared.interactions

    @cached_property
    def seen(self) -> Mask:
        """(N,) rows that models see: train and given."""
        return self.prepared.mask(TRAIN, GIVEN)

    @cached_property
    def held(self) -> Mask:
        """(N,) rows that models are to find: val and test."""
        return self.prepared.mask(VAL, TEST)

    @cached_property
    def part(self) -> NDArray[np.int8]:
        """(N,) positions in `SPLITS`."""
        assert self.rows.split is not None
        return self.rows.split

    @cached_property
    def user_domain(self) -> NDArray[np.int64]:
        """(N,) a code for the user and the domain of each row; of the user where there is one domain."""
        domain = self.prepared.domain
        user = self.rows.user.astype(np.int64)
        return user if domain is None else user * len(self.prepared.domains) + gather(domain, self.rows.item)

    @property
    def place(self) -> str:
        """Where the rows of `user_domain` are, in words."""
        return " in the same domain" if self.prepared.domains else ""

    def pairs(self, chosen: Mask | NDArray[np.int64]) -> tuple[str, ...]:
        """The raw ids of the first of the chosen rows, by mask or position."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        users, items = self.prepared.users[USER_ID], self.prepared.items[ITEM_ID]
        return tuple(f"{users[self.rows.user[row]]}, {items[self.rows.item[row]]}" for row in places[:EXAMPLES])

    def held_parts(self) -> list[tuple[str, Mask]]:
        """Val and test with their rows, where there are any."""
        parts = ((name, self.part == SPLITS.index(name)) for name in (VAL, TEST))
        return [(name, mask) for name, mask in parts if mask.any()]


def listed(examples: Sequence[str]) -> str:
    """Examples as the end of a sentence."""
    return f"; for instance {'; '.join(examples)}" if examples else ""
