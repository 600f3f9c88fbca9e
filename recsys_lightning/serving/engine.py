"""Answers of an exported model: recommendations, similar items, reasons, titles. No torch, no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from recsys_lightning.errors import InputError
from recsys_lightning.serving.format import Export, Ints
from recsys_lightning.serving.metadata import understand
from recsys_lightning.serving.scorers import Person, Sums, Vectors, scorer
from recsys_lightning.serving.search import Best, Faiss, among, best
from recsys_lightning.serving.titles import Titles

SCORES = 1 << 25
"""So many scores a request holds at a time: 128 MiB of float32. Fewer users at a time read the items more often."""

MOST_REASONS = 50
"""Reasons that are given at most, the strongest."""

MOST_NAMED, MOST_SAID = 5, 60
"""Values of metadata that an error names at most, and characters of each."""


class NotFound(Exception):
    """There is no such user or item."""


class Listed(NamedTuple):
    """One line of a list."""

    rank: int
    item: str
    title: str
    score: float


class Reason(NamedTuple):
    """One of the user's own items, and what it does."""

    item: str
    title: str
    effect: float


class Shared(NamedTuple):
    """A category that an item shares with the user's own."""

    kind: str
    value: str


@dataclass(frozen=True)
class Ask:
    """For whom to recommend, and what: a known user, or somebody with items.

    Attributes:
        user: raw id; None for a new user.
        history: raw ids of a new user's items.
        liked: metadata of items of the new user that are not in the catalogue.
        k: length of the list.
        exclude_known: whether items that the user has are left out.
        exclude: raw ids of others to leave out.
    """

    user: str | None = None
    history: Sequence[str] = ()
    liked: Sequence[Mapping[str, Any]] = ()
    k: int = 10
    exclude_known: bool = True
    exclude: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """A list, the ids that are not in the catalogue, and the values of metadata that say nothing to the model."""

    recommendations: list[Listed] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Explained(NamedTuple):
    """Why an item has its score."""

    score: float
    meaning: str
    reasons: list[Reason]
    shared: list[Shared]


class Engine:
    """An exported model in memory, ready to be asked by many threads at once.

    Args:
        folder: of an export.
        index: `exact`, or `faiss` for an approximate search by vectors.

    Raises:
        InputError: the export is not as it was written, or its model has no vectors to search by.
    """

    def __init__(self, folder: Path | str, index: Literal["exact", "faiss"] = "exact") -> None:
        export = Export(Path(folder))
        self.manifest = held = export.manifest
        self.users = export.strings("users.json", "ids", held.users)
        self.items = export.strings("items.json", "ids", held.items)
        self.titles = export.strings("items.json", "titles", held.items)
        self._user = _places(export, "users.json", self.users)
        self._item = _places(export, "items.json", self.items)
        self.priority: Ints = export.array("priority.npy", np.int32, (held.items,))
        if not np.array_equal(np.sort(self.priority), np.arange(held.items)):
            raise export.broken("priority.npy", "is no order of the items")
        self.seen = export.rows("seen", held.users, held.items)
        self.own = export.rows("own", held.users, held.items)
        self.values = _values(export)
        self.has = export.rows("values", held.items, len(self.values))
        self.scorer: Vectors | Sums = scorer(export)
        self._search = Titles(self.titles)
        self.index: Faiss | None = None
        if index == "faiss":
            if not isinstance(self.scorer, Vectors):
                raise InputError(f"{held.model} has no vectors to make an index of: use --index exact.")
            self.index = Faiss(self.scorer.items)

    def health(self) -> dict[str, object]:
        """What is served."""
        held = self.manifest
        return {
            "status": "ok",
            "model": held.model,
            "data": held.data,
            "item_type": held.item_type,
            "users": held.users,
            "items": held.items,
            "dim": held.dim,
            "index": "exact" if self.index is None else "faiss",
            "folds_in": held.folds_in,
            "kinds": [] if held.columns is None else held.columns.categories,
            "example_user": next((raw for user, raw in enumerate(self.users) if len(self.own.row(user))), None),
        }

    def recommend(self, asked: Sequence[Ask]) -> list[Answer]:
        """The best items for each of those asked for.

        Raises:
            NotFound: a user is unknown, or none of the items of a history is in the catalogue.
            Unable: the model does not fold in.
            InputError: metadata say nothing to the model.
        """
        people, hidden, unknown = [], [], []
        for place, ask in enumerate(asked):
            person, missing = self._person(ask.user, ask.history, ask.liked, place, len(asked) > 1)
            left_out, also_missing = self._known(ask.exclude)
            known = person.items if person.user is None else self.seen.row(person.user)
            people.append(person)
            hidden.append(np.concatenate([known, left_out]) if ask.exclude_known else left_out)
            unknown.append(list(dict.fromkeys(missing + also_missing)))
        found: list[list[Listed]] = []
        size = max(1, SCORES // max(1, len(self.items)))
        for first in range(0, len(people), size):
            part = slice(first, first + size)
            found += self._ranked(people[part], hidden[part], [ask.k for ask in asked[part]])
        return [Answer(*pair) for pair in zip(found, unknown, strict=True)]

    def similar(self, item: str | Mapping[str, Any], k: int = 10) -> list[Listed]:
        """The items most similar to one, or to what its metadata describe; fewer than k where fewer are similar.

        Raises:
            NotFound: there is no such item.
            Unable: the model knows no metadata.
            InputError: the metadata say nothing to the model.
        """
        if isinstance(item, str):
            index = self._index_of(item)
            scores = self.scorer.similar(index)
            scores[index] = -np.inf
            if isinstance(self.scorer, Sums) and self.scorer.dense is None:  # what the matrix lacks is not similar
                scores[scores <= 0] = -np.inf
        else:
            self.unknown(item)
            scores = self.scorer.similar(item)
        return self._listed(best(scores, k, self.priority))

    def explain(self, item: str, user: str | None = None, history: Sequence[str] = ()) -> Explained:
        """Why an item has its score for a user, or for somebody with a history.

        Raises:
            NotFound: there is no such user or item.
            Unable: the model does not fold in, and was asked for a history.
        """
        target = self._index_of(item)
        person, missing = self._person(user, history)
        if missing:
            raise NotFound(self._no_item(missing[0]))
        if person.user is not None and isinstance(self.scorer, Vectors):  # that it is like itself is no reason
            person = person._replace(items=person.items[person.items != target])
        score, effect = self.scorer.effects(person, target)
        order = np.lexsort((self.priority[person.items], -effect))[:MOST_REASONS]
        reasons = [
            Reason(self.items[person.items[place]], self.titles[person.items[place]], float(effect[place]))
            for place in order
        ]
        meaning = self.scorer.meaning if person.user is not None else self.scorer.meaning_of_history
        return Explained(score, meaning, reasons, self._shared(target, person.items))

    def unknown(self, metadata: Mapping[str, Any]) -> list[str]:
        """Values of metadata that say nothing to the model, such as `genres: SciFi`.

        Raises:
            Unable: the model knows no metadata.
            InputError: no value says anything, or a column is unknown.
        """
        self.scorer.require(folds_in=False, metadata=True)
        return self._check(metadata, "metadata")

    def search(self, query: str, limit: int = 10) -> list[tuple[str, str]]:
        """Ids and titles of items whose titles hold the words."""
        return [(self.items[item], self.titles[item]) for item in self._search.find(query, limit)]

    # Names to numbers

    def _person(
        self,
        user: str | None,
        history: Sequence[str],
        liked: Sequence[Mapping[str, Any]] = (),
        place: int = 0,
        one_of_several: bool = False,
    ) -> tuple[Person, list[str]]:
        where = f"requests[{place}]: " if one_of_several else ""
        if user is not None:
            if user not in self._user:
                raise NotFound(
                    f"{where}There is no user {user!r} among the {len(self.users):,} of {self.manifest.data}."
                )
            index = self._user[user]
            return Person(index, self.own.row(index)), []
        self.scorer.require(folds_in=True, metadata=bool(liked))
        items, missing = self._known(history)
        if not len(items) and not liked:
            raise NotFound(f"{where}{self._no_item(missing[0])}" if missing else f"{where}The history is empty.")
        for number, record in enumerate(liked):
            missing += self._check(record, f"requests[{place}].liked[{number}]")
        return Person(None, items, liked), missing

    def _known(self, raw: Sequence[str]) -> tuple[Ints, list[str]]:
        """Distinct items, ascending as in the rows of known users, and the ids that are none."""
        found = sorted({self._item[item] for item in raw if item in self._item})
        return np.array(found, np.int64), [item for item in raw if item not in self._item]

    def _index_of(self, item: str) -> int:
        if item not in self._item:
            raise NotFound(self._no_item(item))
        return self._item[item]

    def _no_item(self, item: str) -> str:
        held = self.manifest
        return f"There is no {held.item_type} {item!r} among the {held.items:,} of {held.data}."

    def _check(self, record: Mapping[str, Any], where: str) -> list[str]:
        """Values of metadata that say nothing to the model.

        Raises:
            InputError: no value says anything, or a column is unknown.
        """
        columns = self.manifest.columns
        assert columns is not None and isinstance(self.scorer, Vectors) and self.scorer.towers is not None
        known = ["title"] * columns.title + columns.numbers + columns.categories
        if strange := [name for name in record if name not in known]:
            raise InputError(f"{where}: The model reads no {strange[0]!r} of items. It reads {', '.join(known)}.")
        said = understand(self.scorer.towers.spec or {}, record)
        if said.anything:
            return said.unknown
        if not said.unknown:
            raise InputError(f"{where} says nothing. The model reads {', '.join(known)}.")
        named = ", ".join(ascii(value)[1:-1][:MOST_SAID] for value in said.unknown[:MOST_NAMED])
        more = f" and {len(said.unknown) - MOST_NAMED:,} more" if len(said.unknown) > MOST_NAMED else ""
        raise InputError(f"{where} holds nothing that the model understands, only {named}{more}.")

    # Lists

    def _ranked(self, people: list[Person], hidden: list[Ints], k: list[int]) -> list[list[Listed]]:
        if self.index is not None and isinstance(self.scorer, Vectors):
            return list(self._approximate(self.scorer, self.index, people, hidden, k))
        scores = self.scorer.scores(people)
        lists = []
        for row, left_out, length in zip(scores, hidden, k, strict=True):
            row[left_out] = -np.inf
            lists.append(self._listed(best(row, length, self.priority)))
        return lists

    def _approximate(
        self, vectors: Vectors, index: Faiss, people: list[Person], hidden: list[Ints], k: list[int]
    ) -> Iterator[list[Listed]]:
        """By the index, which finds as many more as are left out; exactly, where fewer than k are left even so."""
        wanted = vectors.vectors(people)
        most = min(len(self.items), max(length + len(left) for length, left in zip(k, hidden, strict=True)))
        for row, (scores, items) in enumerate(zip(*index.find(wanted, most), strict=True)):
            left = (items >= 0) & ~np.isin(items, hidden[row])
            found = among(items[left], scores[left], k[row], self.priority)
            if len(found.item) < k[row]:
                exact = wanted[row] @ vectors.items.T
                exact[hidden[row]] = -np.inf
                found = best(exact, k[row], self.priority)
            yield self._listed(found)

    def _listed(self, found: Best) -> list[Listed]:
        pairs = zip(found.item.tolist(), found.score.tolist(), strict=True)
        return [Listed(rank, self.items[item], self.titles[item], score) for rank, (item, score) in enumerate(pairs, 1)]

    def _shared(self, item: int, own: Ints) -> list[Shared]:
        held = {int(value) for other in own if other != item for value in self.has.row(int(other))}
        return [Shared(*self.values[value]) for value in self.has.row(item).tolist() if value in held]


def _places(export: Export, name: str, raw: list[str]) -> dict[str, int]:
    places = {value: place for place, value in enumerate(raw)}
    if len(places) != len(raw):
        raise export.broken(name, "holds an id twice")
    return places


def _values(export: Export) -> list[tuple[str, str]]:
    """Kind and name of each category."""
    content = export.json("values.json")
    if not isinstance(content, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair) for pair in content
    ):
        raise export.broken("values.json", "does not hold pairs of words")
    return [(kind, value) for kind, value in content]
