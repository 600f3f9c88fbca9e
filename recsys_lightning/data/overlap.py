"""Which users the domains of a data set share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.rows import gather
from recsys_lightning.schema import TEST, TRAIN, VAL

_SHOWN = 10
"""Most frequent sets of domains; with M domains there are up to 2^M - 1."""


class Overlap(NamedTuple):
    """What is in each domain, and who is in several.

    Attributes:
        rows: of each domain.
        users: with rows in each domain.
        items: with rows in each domain.
        sets: users by the set of domains in which they have rows, the most frequent sets first.
    """

    rows: tuple[int, ...]
    users: tuple[int, ...]
    items: tuple[int, ...]
    sets: dict[tuple[str, ...], int]

    @property
    def density(self) -> tuple[float, ...]:
        """Share of the pairs of a domain's users and items that are rows, repeated ones counting again."""
        sizes = zip(self.rows, self.users, self.items, strict=True)
        return tuple(rows / max(users * items, 1) for rows, users, items in sizes)

    @property
    def everybody(self) -> int:
        """Users with rows."""
        return sum(self.sets.values())

    @property
    def shared(self) -> int:
        """Users with rows in more than one domain."""
        return sum(users for names, users in self.sets.items() if len(names) > 1)

    def in_words(self) -> list[tuple[str, int]]:
        """Sets of domains as text with their users; rare ones are put together."""
        named = [(" and ".join(names) + " only" * (len(names) == 1), users) for names, users in self.sets.items()]
        rest = sum(users for _, users in named[_SHOWN:])
        return [*named[:_SHOWN], *([("other sets", rest)] if rest else [])]


def overlap(interactions: Interactions) -> Overlap:
    """Statistics of the rows of data of several domains."""
    assert interactions.domain is not None
    size, user = len(interactions.domains), interactions.user
    of_row = gather(interactions.domain, interactions.item)
    member = np.zeros((interactions.num_users, size), np.bool_)
    member[user, of_row] = True
    items = np.unique(interactions.item)
    kinds, count = np.unique(member[member.any(1)], axis=0, return_counts=True)
    order = np.lexsort((*~kinds.T[::-1], -count))
    names = np.array(interactions.domains, object)
    return Overlap(
        rows=tuple(np.bincount(of_row, minlength=size).tolist()),
        users=tuple(member.sum(0).tolist()),
        items=tuple(np.bincount(interactions.domain[items], minlength=size).tolist()),
        sets={tuple(names[kinds[kind]]): int(count[kind]) for kind in order},
    )


def section(prepared: Prepared) -> list[str]:
    """The domains of prepared data as lines of Markdown; none where there is one domain."""
    if prepared.domain is None:
        return []
    rows = prepared.interactions
    train, val, test = (overlap(rows.take(prepared.mask(name))) for name in (TRAIN, VAL, TEST))
    new = _new_there(prepared)
    lines = [
        "| domain | items in train | users in train | train rows | density | val rows | test rows | tested users "
        "| of them without train rows there |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for code, name in enumerate(prepared.domains):
        lines.append(
            f"| {name} | {train.items[code]:,} | {train.users[code]:,} | {train.rows[code]:,} "
            f"| {train.density[code]:.4%} | {val.rows[code]:,} | {test.rows[code]:,} | {test.users[code]:,} "
            f"| {new[code]:,} |"
        )
    lines += ["", "| train rows in | users | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {users:,} | {users / train.everybody:.1%} |" for name, users in train.in_words()]
    share = train.shared / train.everybody
    told = f"{train.shared:,} of {train.everybody:,} users ({share:.1%}) have train rows in more than one domain."
    return [*lines, "", told]


def _new_there(prepared: Prepared) -> list[int]:
    """For each domain, how many users have test rows and no train rows in it."""
    rows, size = prepared.interactions, len(prepared.domains)
    assert prepared.domain is not None
    place = rows.user.astype(np.int64) * size + gather(prepared.domain, rows.item)
    tested = np.unique(place[prepared.mask(TEST)])
    new = tested[~np.isin(tested, place[prepared.mask(TRAIN)])]
    found: list[int] = np.bincount(new % size, minlength=size).tolist()
    return found
