"""Names of users, items and attribute values: raw ids in, titles out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from recsys_lightning.errors import InputError
from recsys_lightning.schema import Schema

NEAR = 3
"""Similar ids that are shown when one is not found."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What indices stand for.

    Attributes:
        schema: of the data.
        users: raw id of each user.
        items: raw id of each item.
        titles: of each item.
        values: names of the nodes of each attribute type.
    """

    schema: Schema
    users: Sequence[str]
    items: Sequence[str]
    titles: Sequence[str]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def domain(self, name: str | None) -> int | None:
        """Code of a domain; None where there is one, which has no name.

        Raises:
            InputError: there are several and none is named, or there is no such domain.
        """
        names = self.schema.domains
        if not names and name is None:
            return None
        if not names:
            raise InputError(f"There is no domain {name}: the items of {self.schema.name} are of one. Leave it out.")
        if name not in names:
            what = "The items of each domain are ranked by themselves" if name is None else f"There is no domain {name}"
            raise InputError(f"{what}: name one of {', '.join(names)}.")
        return names.index(name)

    def user(self, raw: str) -> int:
        """Index of a user.

        Raises:
            InputError: there is no such user; names similar ones.
        """
        if raw not in self._users:
            near = difflib.get_close_matches(raw, self.users, NEAR)
            raise InputError(
                f"There is no user {raw!r} among the {len(self.users):,} of {self.schema.name} ({self.schema.split})."
                f"{_similar(near)} Users without train rows are unknown to a model."
            )
        return self._users[raw]

    def item(self, raw: str) -> int:
        """Index of an item.

        Raises:
            InputError: there is no such item; names those with a similar id or title.
        """
        if raw not in self._items:
            by_title = dict(zip(map(str.casefold, self.titles), self.items, strict=True))
            word = raw.casefold()
            near = [by_title[title] for title in difflib.get_close_matches(word, by_title, NEAR)]
            near += [item for title, item in by_title.items() if word and word in title and item not in near]
            near += [item for item in difflib.get_close_matches(raw, self.items, NEAR) if item not in near]
            named = [f"{item} ({self.titles[self._items[item]]})" for item in near[:NEAR]]
            raise InputError(
                f"There is no {self.schema.item_type} {raw!r} among the {len(self.items):,} of {self.schema.name} "
                f"({self.schema.split}).{_similar(named)}"
            )
        return self._items[raw]

    def value(self, kind: str, index: int) -> str:
        """Name of an attribute's node; its number where it has no name."""
        return str(self.values[kind][index] if kind in self.values else index)

    @cached_property
    def _users(self) -> dict[str, int]:
        return {raw: index for index, raw in enumerate(self.users)}

    @cached_property
    def _items(self) -> dict[str, int]:
        return {raw: index for index, raw in enumerate(self.items)}


def _similar(names: Sequence[str]) -> str:
    return f" Similar: {', '.join(names)}." if names else ""
