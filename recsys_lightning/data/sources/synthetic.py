"""A world of users in several domains whose tastes are known, as they were planted."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading.attributes import empty
from recsys_lightning.data.sources.base import Card, Raw, Source
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID, USER_ID

if TYPE_CHECKING:
    from recsys_lightning.batches import Vectors
    from recsys_lightning.data.prepared import Prepared

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

LEAST = 3
"""Rows of a user in a domain, at least."""

CELLS = 1 << 20
"""Pairs of a user and an item that are weighed at a time: 8 MiB a table."""

_ITEMS = {"movie": 600, "book": 600}
_MOST_DOMAINS = 127
_ORDER, _FACTORS, _MEMBERS, _ITEM, _LENGTH, _CHOICE = range(6)
"""Streams of random numbers: what one draws changes nothing of the others."""


@dataclass(frozen=True, eq=False)
class Planted:
    """What users and items of a world are like: whoever knows it ranks as well as anyone can.

        score(u, i) = (shared_u . s_i + own_{u,d} . o_i) / (noise sqrt(2 k)) + popularity_i,    d the domain of i

    Attributes:
        users: (U,) raw ids.
        items: (I,) raw ids.
        domains: names.
        domain: (I,) of each item, a position in `domains`.
        shared: (U, k) tastes of users in all domains.
        own: by domain, (U, k) tastes in it, also those of users who have no rows there.
        item_shared: (I, k) s, what items hold for shared tastes.
        item_own: (I, k) o, what they hold for the tastes in their own domain.
        popularity: (I,) logarithms of weights.
        noise: temperature of choices.
    """

    users: pd.Index
    items: pd.Index
    domains: tuple[str, ...]
    domain: Codes
    shared: Numbers
    own: dict[str, Numbers]
    item_shared: Numbers
    item_own: Numbers
    popularity: Numbers
    noise: float

    @property
    def factors(self) -> int:
        """How many tastes are shared, and of each domain: k."""
        return int(self.shared.shape[1])

    def aligned(self, prepared: Prepared) -> Planted:
        """The same for the users, items and domains of prepared data, in their order.

        Raises:
            InputError: the data hold an id that is not of this world.
        """
        user, item = _places(self.users, prepared.users[USER_ID]), _places(self.items, prepared.items[ITEM_ID])
        here = {self.domains[code] for code in np.unique(self.domain[item])}
        domains = prepared.domains or tuple(here)
        code = np.array([domains.index(name) if name in domains else -1 for name in self.domains])
        return replace(
            self,
            users=self.users[user],
            items=self.items[item],
            domains=domains,
            domain=code[self.domain[item]],
            shared=self.shared[user],
            own={name: self.own[name][user] for name in domains},
            item_shared=self.item_shared[item],
            item_own=self.item_own[item],
            popularity=self.popularity[item],
        )

    def vectors(self) -> Vectors:
        """Vectors whose dot products are the scores, D = (1 + M) k + 1 numbers wide: shared, own of each domain, 1.

        A user has one for each domain, (U, M, D), with zeros for the tastes in the others: the ideal conditions. With
        one domain they are (U, D).
        """
        import torch

        from recsys_lightning.batches import Vectors

        k, width = self.factors, (1 + len(self.domains)) * self.factors + 1
        user = np.zeros((len(self.users), len(self.domains), width), np.float32)
        item = np.zeros((len(self.items), width), np.float32)
        user[..., :k] = self.shared[:, None] * _scale(self.noise, k)
        user[..., -1] = 1
        item[:, :k], item[:, -1] = self.item_shared, self.popularity
        for code, name in enumerate(self.domains):
            own = slice((1 + code) * k, (2 + code) * k)
            user[:, code, own] = self.own[name] * _scale(self.noise, k)
            item[self.domain == code, own] = self.item_own[self.domain == code]
        return Vectors(torch.from_numpy(user if len(self.domains) > 1 else user[:, 0]), torch.from_numpy(item))

    def taste(self, domain: str) -> Numbers:
        """(U, 2 k) what a user likes in a domain: the shared tastes, then those of the domain."""
        return np.concatenate([self.shared, self.own[domain]], 1)


class SyntheticDomains(Source):
    """Users with shared tastes and tastes of each domain, which choose items without replacement.

    A user u draws the items of a domain d, one after the other and none twice, with chances that are the softmax of
    the scores of `Planted`. Factors are standard normal, items' weights and numbers of rows log-normal. The time line
    of a user is a random order of all rows of all domains: tastes do not change, and the last rows are like the first.

    Args:
        root: the data root; there are no files, unless graphs or texts are asked for.
        users: U.
        items: number of items by domain.
        overlap: share of the users who have rows in all domains; each other one has them in one, evenly dealt.
        rows: of a user in a domain, the mean; at least 3 and at most half of the items.
        spread: standard deviation of the logarithm of that number; 0 for equal ones.
        factors: k, shared tastes, and as many of each domain.
        noise: temperature of choices: with little everyone takes what suits best, with much what is popular.
        popularity: standard deviation of the logarithms of the items' weights; 0 for equal ones.
        seed: of all random numbers.

    Raises:
        InputError: an option is out of its range.
    """

    name = "synthetic-domains"
    folder = "synthetic-domains"
    card = Card(
        title="A synthetic world: users in several domains, with planted tastes",
        licence="none needed: made by this program",
        homepage="the section on the synthetic world in data/README.md",
        notes=(
            "Nobody lives here: ids, tastes and choices come from a random generator, the same for the same options.",
            "A user has k tastes in all domains and k more in each; a choice depends on the two, on the item's "
            "popularity, and on chance.",
            "The order of a user's rows is random and joint over domains; tastes do not change in time.",
            "As the tastes are known, the best possible ranking is too, and what of them a model's vectors hold.",
        ),
    )
    variants = {"synthetic-domains": {}}  # noqa: RUF012

    def __init__(
        self,
        root: Path,
        users: int = 2000,
        items: dict[str, int] | None = None,
        overlap: float = 1.0,
        rows: float = 25.0,
        spread: float = 0.5,
        factors: int = 4,
        noise: float = 0.5,
        popularity: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(root)
        self.users, self.items, self.overlap = users, dict(_ITEMS if items is None else items), overlap
        self.rows, self.spread, self.factors = rows, spread, factors
        self.noise, self.popularity, self.seed = noise, popularity, seed
        self._check_sizes()
        self._check_chances()
        if len(self.items) == 1:
            [self.item_type] = self.items

    def files(self) -> list[Path]:
        """None."""
        return []

    def options(self) -> dict[str, object]:
        """All of them; items as pairs, as their order counts."""
        names = ("users", "overlap", "rows", "spread", "factors", "noise", "popularity", "seed")
        return {"items": list(self.items.items()), **{name: getattr(self, name) for name in names}}

    def read(self) -> Raw:
        """Let everyone choose."""
        world, members = self.planted(), self.members()
        users, items = list[Codes](), list[Codes]()
        for code, name in enumerate(self.items):
            of_domain = np.flatnonzero(world.domain == code)
            user = np.flatnonzero(members[:, code])
            item = np.concatenate([world.item_shared[of_domain], world.item_own[of_domain]], 1)
            place, chosen = draw(
                world.taste(name)[user] * _scale(self.noise, self.factors),
                item,
                world.popularity[of_domain],
                self._lengths(code, len(user)),
                self._random(_CHOICE, code),
            )
            users.append(user[place])
            items.append(of_domain[chosen])
        several = len(self.items) > 1
        interactions = Interactions(
            user=np.concatenate(users).astype(np.int32),
            item=np.concatenate(items).astype(np.int32),
            user_ids=pa.array(world.users, pa.string()),
            item_ids=pa.array(world.items, pa.string()),
            order=_time_line(np.concatenate(users), self._random(_ORDER)),
            domain=world.domain.astype(np.int8) if several else None,
            domains=world.domains if several else (),
        )
        return Raw(interactions, empty(ITEM_ID), empty(USER_ID))

    def planted(self) -> Planted:
        """The tastes of users and the nature of items, which `read` does not tell."""
        k, domains = self.factors, tuple(self.items)
        sizes = list(self.items.values())
        items = [self._random(_ITEM, code).standard_normal((size, 2 * k + 1)) for code, size in enumerate(sizes)]
        table = np.concatenate(items)
        user = [self._random(_FACTORS, place).standard_normal((self.users, k)) for place in range(len(domains) + 1)]
        return Planted(
            users=_ids("u", self.users),
            items=_ids("", 0).append([_ids(f"{name}_", n) for name, n in self.items.items()]),
            domains=domains,
            domain=np.repeat(np.arange(len(domains)), sizes),
            shared=user[0],
            own=dict(zip(domains, user[1:], strict=True)),
            item_shared=table[:, :k],
            item_own=table[:, k:-1],
            popularity=self.popularity * table[:, -1],
            noise=self.noise,
        )

    def members(self) -> NDArray[np.bool_]:
        """(U, M) who has rows in which domain."""
        everywhere = round(self.overlap * self.users)
        place = self._random(_MEMBERS).permutation(self.users)
        only = place % len(self.items)
        return np.stack([(place < everywhere) | (only == code) for code in range(len(self.items))], 1)

    def _lengths(self, code: int, users: int) -> Codes:
        """(users,) rows of each in a domain."""
        normal = self._random(_LENGTH, code).standard_normal(users)
        wanted = self.rows * np.exp(self.spread * normal - self.spread**2 / 2)
        return np.clip(np.rint(wanted), LEAST, list(self.items.values())[code] // 2).astype(np.int64)

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _check_sizes(self) -> None:
        if not 1 <= len(self.items) <= _MOST_DOMAINS:
            named = f"items names {len(self.items)} domains; the world has 1 to {_MOST_DOMAINS}."
            raise InputError(f"{named} Say for example items: {_ITEMS}.")
        for name, size in self.items.items():
            if not re.fullmatch(r"\w+", name):
                raise InputError(f"items: {name!r} is no name of a domain. Use letters, digits and _ only.")
            if size < 2 * self.rows:
                raise InputError(
                    f"items: {name} has {size} items, and each user takes about {self.rows:g} of them; it needs at "
                    "least twice as many. Say more items or fewer rows."
                )
        if self.users < len(self.items):
            raise InputError(f"users is {self.users}; a world of {len(self.items)} domains needs at least as many.")
        for name, least in (("rows", LEAST), ("factors", 1), ("seed", 0)):
            if not getattr(self, name) >= least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}.")

    def _check_chances(self) -> None:
        if not 0 <= self.overlap <= 1:
            raise InputError(f"overlap is {self.overlap}; it is the share of users in all domains, from 0 to 1.")
        if not 0 < self.noise < np.inf:
            raise InputError(f"noise is {self.noise}; it must be above 0, for example 0.5.")
        for name in ("spread", "popularity"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 0, for example 0.5.")


def draw(
    taste: Numbers, item: Numbers, popularity: Numbers, length: Codes, rng: np.random.Generator
) -> tuple[Codes, Codes]:
    """Items that users draw without replacement, with chances exp(taste . item + popularity).

    Exponential numbers, divided by the chances, race: the items of the smallest are those that come first (Efraimidis
    and Spirakis 2006; the same as the largest of scores with Gumbel noise).

    Args:
        taste: (U, F).
        item: (I, F).
        popularity: (I,).
        length: (U,) how many each draws, at most I.
        rng: of the race; how many users are looked at at a time changes nothing.

    Returns:
        user: (N,) ascending.
        item: (N,) of each user, the one drawn first first.
    """
    found: list[tuple[Codes, Codes]] = []
    step = max(1, CELLS // len(item))
    for first in range(0, len(taste), step):
        own = length[first : first + step]
        most = int(own.max())
        race = np.log(rng.standard_exponential((len(own), len(item))))
        race -= taste[first : first + step] @ item.T
        race -= popularity
        ahead = np.argpartition(race, most - 1, axis=1)[:, :most]
        order = np.take_along_axis(race, ahead, 1).argsort(1)
        ahead = np.take_along_axis(ahead, order, 1)
        found.append((np.repeat(np.arange(first, first + len(own)), own), ahead[np.arange(most) < own[:, None]]))
    return np.concatenate([user for user, _ in found]), np.concatenate([chosen for _, chosen in found])


def _time_line(user: Codes, rng: np.random.Generator) -> Codes:
    """(N,) place of each row in a random order of the rows of its user."""
    order = np.lexsort((rng.random(len(user)), user))
    degree = np.bincount(user)
    place = np.empty(len(user), np.int64)
    place[order] = np.arange(len(user)) - np.repeat(degree.cumsum() - degree, degree)
    return place


def _scale(noise: float, factors: int) -> float:
    """Makes the scores of shared and own tastes together have a standard deviation of 1 / noise."""
    return 1 / (noise * float(np.sqrt(2 * factors)))


def _ids(prefix: str, size: int) -> pd.Index:
    width = max(5, len(str(size - 1)))
    return pd.Index([f"{prefix}{place:0{width}d}" for place in range(size)], dtype=str)


def _places(known: pd.Index, ids: pd.Series[Any]) -> Codes:
    """Where ids stand among those of the world."""
    place = known.get_indexer(pd.Index(ids))
    if (place < 0).any():
        raise InputError(
            f"{ids[place < 0].iloc[0]!r} is not of this synthetic world. The data and the planted tastes have to be "
            "made with the same options of SyntheticDomains."
        )
    return np.asarray(place, np.int64)
