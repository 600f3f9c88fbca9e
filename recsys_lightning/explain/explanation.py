"""What an explanation says, as plain values: made by `advisor`, shown by the terminal, JSON and pages."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recommendation:
    """One line of a list of recommendations.

    Attributes:
        rank: 1 is best.
        item: raw id.
        title: the raw id where there is none.
        score: of the model.
    """

    rank: int
    item: str
    title: str
    score: float


@dataclass(frozen=True)
class Effect:
    """What one edge of the graph does for the score.

    Attributes:
        relation: name of the edge type, e.g. `rates` or `has_genre`.
        source: raw id of the node the edge starts from: the user's, or the item's.
        target: raw id of the node it ends at: an item's, or the name of an attribute.
        title: of the target, for people.
        value: share of the score that the edge accounts for; what that means the explainer says.
    """

    relation: str
    source: str
    target: str
    title: str
    value: float


@dataclass(frozen=True)
class Share:
    """What one attribute value (a genre, an artist) that the item has contributes.

    Attributes:
        name: of the value.
        affinity: of the user: share of the user's own items, weighted as the graph is.
        strength: of the item: 1 / number of its values.
        contribution: to the score; all contributions of a kind add up to its term.
    """

    name: str
    affinity: float
    strength: float
    contribution: float


@dataclass(frozen=True)
class Influence:
    """What the attributes of one kind (genre, director) contribute.

    Attributes:
        total: the term of the score; the sum of the contributions.
        weight: that the model gives this kind for this user.
        common: the item's values that the user's own items have as well, largest contribution first.
        other: the item's other values.
    """

    total: float
    weight: float
    common: tuple[Share, ...] = ()
    other: tuple[Share, ...] = ()


@dataclass(frozen=True)
class Attention:
    """How much a node listened to one neighbour in the last layer of message passing.

    Attributes:
        item: raw id of the neighbour.
        title: of it.
        weight: mean over heads and layers, as a share of all the user's neighbours.
        heads: the share in each head of the last layer.
    """

    item: str
    title: str
    weight: float
    heads: tuple[float, ...]


@dataclass(frozen=True)
class Fidelity:
    """What became of the item when the named edges were really taken away, and when as many random ones were.

    Attributes:
        removed: how many edges were taken away, those with the largest effects, as far as they are above 0.
        score: of the item without them.
        rank: of the item without them, among the user's unseen items.
        random_score: mean over draws of as many random ones of the edges in question: the user's own, and the item's
            to its attributes where the explainer judges them. None where all of them were taken away already.
        random_rank: median likewise.
    """

    removed: int
    score: float
    rank: int
    random_score: float | None
    random_rank: float | None


@dataclass(frozen=True)
class Explanation:
    """Why an item is recommended to a user.

    Attributes:
        user: raw id.
        item: raw id.
        title: of the item.
        score: of the model.
        rank: among the user's unseen items; None where the user has the item already.
        terms: parts by name that add up to the score.
        explainer: which explainer found the effects.
        meaning: what the effects' values mean, in a sentence.
        effects: of edges, largest first.
        rest: what the effects leave of the score, where effect and rest add up to it; else None.
        attention: over the user's own items, largest first; empty for models without attention.
        influences: of the item's attributes, by kind; empty for models that do not score them.
        fidelity: measured; None where it was not asked for, the user has the item, or no effect is above zero.
    """

    user: str
    item: str
    title: str
    score: float
    rank: int | None
    terms: dict[str, float]
    explainer: str
    effects: tuple[Effect, ...]
    rest: float | None = None
    attention: tuple[Attention, ...] = ()
    influences: dict[str, Influence] = field(default_factory=dict)
    fidelity: Fidelity | None = None
    meaning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
