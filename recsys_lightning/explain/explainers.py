"""Explainers: what each edge does for a score, by one interface and several meanings."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.explain.edges import Edges, remove, scores
from recsys_lightning.explain.protocols import Additive
from recsys_lightning.explain.ranking import best
from recsys_lightning.models.base import Recommender

RIVALS = 10
"""With so many items a contrast compares; as many stand before them."""


class Effects(NamedTuple):
    """What each edge does for the scores of K items."""

    edges: Edges  # n in all
    values: Tensor  # (K, n), one edge type after the other
    rest: Tensor | None  # (K,), where values and rest add up to the scores


class Explainer:
    """Finds out what edges do for a user's scores. A subclass says by what measure."""

    name: str
    """By which it is chosen."""
    meaning: ClassVar[str]
    """What its numbers mean, in a sentence."""
    attributes: bool = True
    """Whether it has anything to say of an item's attributes."""

    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """What edges do for the scores of a user.

        Args:
            model: as it was trained, in evaluation mode.
            views: what it sees.
            edges: to be judged; all other edges are left as they are. They begin with all of the user's own.
            user: index.
            item: (K,)
            seen: items of each user (U rows) that are not recommended; those of the views by default.

        Raises:
            InputError: the model cannot be explained in this way.
        """
        raise NotImplementedError


class Exact(Explainer):
    """The parts that the score is the sum of."""

    name = "exact"
    meaning = "The values are parts of the score: with the rest they add up to it."
    attributes = False

    @torch.no_grad()
    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """Ask the model, and it is an addition that it answers with."""
        if not isinstance(model, Additive):
            raise _unable(model, self.name, "its scores are no sums over the user's items")
        _, values, rest = model.contributions(views, model.encode(views), user, item)
        edge_type, position = next(iter(edges.items()))
        return Effects({edge_type: position}, values, rest)


class Occlusion(Explainer):
    """How far the score falls when an edge is really taken away, and the model encodes the graph anew."""

    name = "occlusion"
    meaning = (
        "Each value is how far the score falls when this edge alone is taken away; they do not add up to the score."
    )

    @torch.no_grad()
    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """Take away one edge at a time: as many passes as edges, and one more for each edge type."""
        before = scores(model, model.encode(views), user, item)
        fall = [before.new_zeros(len(item), 0)]
        for edge_type, positions in edges.items():
            fall.append(before.new_zeros(len(item), len(positions)))
            if torch.equal(self._without(model, views, {edge_type: positions}, user, item), before):
                continue  # the model does not read edges of this type
            for column, position in enumerate(torch.split(positions, 1)):
                fall[-1][:, column] = before - self._without(model, views, {edge_type: position}, user, item)
        return Effects(edges, torch.cat(fall, 1), None)

    def _without(self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor) -> Tensor:
        return scores(model, model.encode(remove(views, edges)), user, item)


class Contrast(Explainer):
    """What an edge does for an item beyond what it does for those that would take its place.

    An item that stands among those itself is not compared with itself.

    Args:
        inner: whose effects are compared; the exact parts of the score by default.
    """

    name = "contrast"
    meaning = (
        f"Each value is what the edge adds to this score beyond what it adds, on average, to the scores of the "
        f"other items ranked {RIVALS + 1} to {2 * RIVALS}."
    )

    def __init__(self, inner: Explainer | None = None) -> None:
        self.inner = inner or Exact()
        self.attributes = self.inner.attributes
        if inner is not None:
            self.name = f"contrast_{inner.name}"

    def effects(
        self, model: Recommender, views: Views, edges: Edges, user: int, item: Tensor, seen: CSR | None = None
    ) -> Effects:
        """Those of the item, less the mean of those of its rivals; small catalogues may have none."""
        with torch.no_grad():
            one = torch.full((1,), user, device=item.device)
            next_ones = best(model, model.encode(views), one, 2 * RIVALS, seen or views.train).item[0, RIVALS:]
        rivals = next_ones[next_ones >= 0]
        found = self.inner.effects(model, views, edges, user, torch.cat([item, rivals]), seen)
        own, theirs = found.values[: len(item)], found.values[len(item) :]
        others = (item[:, None] != rivals).to(theirs.dtype)
        share = others / others.sum(1, keepdim=True).clamp(min=1)
        return Effects(found.edges, own - share @ theirs, None)


def _unable(model: Recommender, explainer: str, reason: str) -> InputError:
    return InputError(
        f"{type(model).__name__} cannot be explained by {explainer}: {reason}. The explainer occlusion works for every "
        "model that reads no histories."
    )
