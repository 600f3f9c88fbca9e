"""What a page of explanations is made of beside the explanations: the user's history, and paths through the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_lightning.data.vocabulary import Attribute
from recsys_lightning.explain.explanation import Explanation

Value = tuple[str, str]
"""(kind, name) of an attribute value: ("genre", "Comedy")."""


@dataclass(frozen=True)
class HistoryItem:
    """One item that the user has.

    Attributes:
        item: raw id.
        title: the raw id where there is none.
        rating: that the user gave; None where there are none.
        when: the day, as it is shown; None where that is not known.
    """

    item: str
    title: str
    rating: float | None = None
    when: str | None = None


@dataclass(frozen=True)
class Path:
    """A way through the graph from the user to a recommended item, over one of the user's own items.

    Attributes:
        user: raw id.
        own: raw id of the user's own item.
        via: what the two items have in common; None where the way goes over other users.
        item: raw id of the recommended item.
        weight: how strong it is, see `paths`.
    """

    user: str
    own: str
    via: Value | None
    item: str
    weight: float


def paths(
    explanations: Sequence[Explanation],
    attributes: Mapping[str, Attribute],
    item_ids: Sequence[str],
    most: int = 2,
) -> list[Path]:
    """The strongest paths to each explained item, over as many own items, largest weight first within an item.

    The weight of a path is the effect of the own item times how much the value that both items have tells of them:
    log(I / n) / log(I) where n of I items have it, so that a director in common counts more than a genre. A value that
    more than half of the items have makes no path, nor does an effect below zero, nor an own item to itself. An item
    without any path gets its strongest own item instead, over other users, which counts like a value that half of the
    items have.

    Args:
        explanations: of one user's recommendations, with raw ids.
        attributes: of the items, by kind; what is shared is looked for in all of them.
        item_ids: (I,) raw ids in the order of the attributes' items.
        most: paths to each recommended item.
    """
    wanted = {explanation.item for explanation in explanations}
    wanted |= {effect.target for explanation in explanations for effect in explanation.effects}
    rows = {item: row for row, item in enumerate(item_ids) if item in wanted}
    values = _values(attributes, rows, len(item_ids))
    found = []
    for explanation in explanations:
        over_values = sorted(_over_values(explanation, values), key=lambda path: -path.weight)
        found += over_values[:most] or _over_users(explanation, len(item_ids))[:1]
    return found


def _values(
    attributes: Mapping[str, Attribute], rows: Mapping[str, int], num_items: int
) -> dict[str, dict[Value, float]]:
    """How much each value of the named items tells of them."""
    found: dict[str, dict[Value, float]] = {}
    for kind, attribute in attributes.items():
        count = np.bincount(attribute.value, minlength=len(attribute.values))
        telling = np.log(num_items / count.clip(min=1)) / np.log(max(num_items, 2))
        for item, row in rows.items():
            first, last = np.searchsorted(attribute.item, [row, row + 1])
            for value in attribute.value[first:last].tolist():
                if 2 * count[value] <= num_items:
                    found.setdefault(item, {})[kind, attribute.values[value]] = float(telling[value])
    return found


def _over_values(explanation: Explanation, values: Mapping[str, Mapping[Value, float]]) -> Iterator[Path]:
    """A path for each own item that has anything in common with the recommended one, over what tells most."""
    theirs = values.get(explanation.item, {})
    for own, effect in _own_items(explanation).items():
        shared = {value: telling for value, telling in values.get(own, {}).items() if value in theirs}
        if shared:
            via = max(shared, key=lambda value: shared[value])
            yield Path(explanation.user, own, via, explanation.item, effect * shared[via])


def _over_users(explanation: Explanation, num_items: int) -> list[Path]:
    least = float(np.log(2) / np.log(max(num_items, 2)))
    own = sorted(_own_items(explanation).items(), key=lambda entry: -entry[1])
    return [Path(explanation.user, item, None, explanation.item, effect * least) for item, effect in own]


def _own_items(explanation: Explanation) -> dict[str, float]:
    """Effects above zero of the user's own items, the explained one left out."""
    found: dict[str, float] = defaultdict(float)
    for effect in explanation.effects:
        if effect.relation == "rates" and effect.value > 0 and effect.target != explanation.item:
            found[effect.target] += effect.value
    return dict(found)
