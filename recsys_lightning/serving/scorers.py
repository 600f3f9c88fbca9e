"""Scores of users for all items: inner products of vectors, or sums over the users' own items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.serving.format import Export, Floats, Ints, Rows
from recsys_lightning.serving.towers import Towers

NO_METADATA = (
    "{model} knows nothing of items that are not in its catalogue: ask with ids. A TwoTower with features of items "
    "answers for metadata."
)


AT_ONCE = 64
"""Rows of a dense matrix that are held at a time."""


class Unable(Exception):
    """The model cannot do what was asked for; the message says what it can."""


class Person(NamedTuple):
    """Whom items are scored for: a known user, or somebody with items."""

    user: int | None
    items: Ints  # (n,) own items in the catalogue
    liked: Sequence[Mapping[str, Any]] = ()
    """Metadata of other items."""


class Vectors:
    """Inner products of vectors; new users by the towers, where there are any.

    Args:
        export: of a model whose scores are inner products.
    """

    meaning = (
        "Each effect is the cosine of the item with one of the user's own, by their vectors: how alike the model finds "
        "them. It is not what that item adds to the score."
    )
    meaning_of_history = "Each effect is the score with that item in the history, minus the score without it."

    def __init__(self, export: Export) -> None:
        held = export.manifest
        self.users: Floats = export.array("users.npy", np.float32, (held.users, held.dim))
        self.items: Floats = export.array("items.npy", np.float32, (held.items, held.dim))
        norm = np.sqrt(np.einsum("id,id->i", self.items, self.items, dtype=np.float64))
        self.scale = (1 / np.maximum(norm, 1e-12)).astype(np.float32)
        self.towers = Towers(export) if held.folds_in else None
        self.model = held.model

    def vectors(self, people: Sequence[Person]) -> Floats:
        """Vectors (B, D) of people."""
        vectors = np.empty((len(people), self.items.shape[1]), np.float32)
        for place, person in enumerate(people):
            if person.user is not None:
                vectors[place] = self.users[person.user]
        new = [place for place, person in enumerate(people) if person.user is None]
        if new:
            rows = np.stack([self._towers.profile(people[place].items, people[place].liked) for place in new])
            vectors[new] = self._towers.users(rows)
        return vectors

    def scores(self, people: Sequence[Person]) -> Floats:
        """One product of matrices for all people."""
        return self.vectors(people) @ self.items.T

    def effects(self, person: Person, item: int) -> tuple[float, Floats]:
        """By leaving each item of a history out in turn; for known users, by similarity."""
        target = self.items[item]
        if person.user is not None:
            cosine = (self.items[person.items] @ target) * self.scale[person.items] * self.scale[item]
            return float(self.users[person.user] @ target), cosine
        rows = self._towers.profiles_without(person.items)
        scores = self._towers.users(rows) @ target
        return float(scores[0]), scores[0] - scores[1:]

    def similar(self, item: int | Mapping[str, Any]) -> Floats:
        """Cosines of vectors."""
        if isinstance(item, int):
            vector, scale = self.items[item], self.scale[item]
        else:
            vector = self._towers.items(self._towers.row(item)[None])[0]
            scale = np.float32(1 / max(float(np.linalg.norm(vector)), 1e-12))
        cosine: Floats = (self.items @ vector) * self.scale * scale
        return cosine

    def require(self, folds_in: bool, metadata: bool) -> None:
        """Check that the model can do what is asked for.

        Raises:
            Unable: it cannot.
        """
        if folds_in and self.towers is None:
            raise Unable(
                f"{self.model} knows the users of its data only: ask for a known user. Models that fold in "
                "(TwoTower with metadata, ItemKNN, EASE, GFCF, ContentKNN) answer for histories."
            )
        if metadata and (self.towers is None or self.towers.spec is None):
            raise Unable(NO_METADATA.format(model=self.model))

    @property
    def _towers(self) -> Towers:
        assert self.towers is not None
        return self.towers


class Sums:
    """Sums of the rows that an item-item matrix has for the user's own items.

    Args:
        export: of a model whose scores are such sums.
    """

    meaning = "Each effect is what that item adds to the score; the effects of all own items add up to it."
    meaning_of_history = meaning

    def __init__(self, export: Export) -> None:
        held = export.manifest
        self.num_items, self.model = held.items, held.model
        self.dense: Floats | None = None
        if held.scorer == "dense":
            self.dense = export.array("weight.npy", np.float32, (held.items, held.items))
        else:
            self.pattern: Rows = export.rows("weight", held.items, held.items)
            self.value: Floats = export.array("weight_value.npy", np.float32, (len(self.pattern.col),))

    def scores(self, people: Sequence[Person]) -> Floats:
        """Sums, in the order of the own items."""
        return np.stack([self._sum(person.items) for person in people])

    def effects(self, person: Person, item: int) -> tuple[float, Floats]:
        """Exactly what each item adds."""
        if self.dense is not None:
            return float(self._sum(person.items)[item]), np.asarray(self.dense[person.items, item])
        each = np.array([self._entry(own, item) for own in person.items.tolist()], np.float32)
        return float(self._sum(person.items)[item]), each

    def similar(self, item: int | Mapping[str, Any]) -> Floats:
        """What having the item adds to the score of each."""
        assert isinstance(item, int)
        return self._sum(np.array([item]))

    def _sum(self, items: NDArray[Any]) -> Floats:
        total = np.zeros(self.num_items, np.float32)
        if self.dense is not None:
            for first in range(0, len(items), AT_ONCE):
                total += self.dense[items[first : first + AT_ONCE]].sum(0)
            return total
        for item in items:
            span = slice(self.pattern.crow[item], self.pattern.crow[item + 1])
            total[self.pattern.col[span]] += self.value[span]
        return total

    def _entry(self, own: int, item: int) -> float:
        """What one item adds to the score of another."""
        span = slice(self.pattern.crow[own], self.pattern.crow[own + 1])
        return float(self.value[span][self.pattern.col[span] == item].sum())

    def require(self, folds_in: bool, metadata: bool) -> None:
        """Check that the model can do what is asked for: histories, always.

        Raises:
            Unable: metadata are asked for.
        """
        if metadata:
            raise Unable(NO_METADATA.format(model=self.model))


def scorer(export: Export) -> Vectors | Sums:
    """What makes the scores of an export."""
    return Vectors(export) if export.manifest.scorer == "vectors" else Sums(export)
