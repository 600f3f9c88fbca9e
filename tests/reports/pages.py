"""What a page of explanations is made of, in small; names hold what would break a careless page."""

from __future__ import annotations

import numpy as np

from recsys_lightning.data.vocabulary import Attribute
from recsys_lightning.explain.explanation import Attention, Effect, Explanation, Fidelity, Influence, Share
from recsys_lightning.reports.explanation import HistoryItem, Path

EVIL = '<script>alert("1")</script> & *Co* | `x`'
USER = "u<1>"
ITEMS = ("a", "b", "c", "d", "r1", "r2", "r3")


def history() -> list[HistoryItem]:
    return [
        HistoryItem("a", "Alien", 9.0, "2013-05-28"),
        HistoryItem("b", EVIL, 7.5),
        HistoryItem("c", "Clue"),
        HistoryItem("d", "Dune", None, "2013-05-01"),
    ]


def effect(own: str, value: float) -> Effect:
    return Effect("rates", USER, own, {entry.item: entry.title for entry in history()}[own], value)


def explanation(item: str = "r1", rank: int | None = 1, **changes: object) -> Explanation:
    """Everything that an explanation can hold; effects and rest add up to the score."""
    values: dict[str, object] = {
        "user": USER,
        "item": item,
        "title": f"Film {item}",
        "score": 1.5,
        "rank": rank,
        "terms": {"base": 1.2, "genre": 0.4, "director": -0.1},
        "explainer": "exact",
        "effects": (effect("a", 0.5), effect("b", 0.25), effect("c", -0.125)),
        "rest": 0.875,
        "attention": (Attention("a", "Alien", 0.75, (0.5, 1.0)), Attention("b", EVIL, 0.25, (0.5, 0.0))),
        "influences": {
            "genre": Influence(0.4, 0.1, (Share("Horror", 0.5, 0.5, 0.3),), (Share("Opera", 0.0, 0.5, 0.1),)),
            "director": Influence(-0.1, 0.2, (), (Share(EVIL, 0.0, 1.0, -0.1),)),
        },
        "fidelity": Fidelity(5, 0.5, 37, 1.25, 2.5),
    }
    return Explanation(**{**values, **changes})  # type: ignore[arg-type]


def attribute(**values: str) -> Attribute:
    """The values of items, separated by spaces, by the items' names."""
    names = sorted({name for text in values.values() for name in text.split()})
    pairs = sorted((ITEMS.index(item), names.index(name)) for item, text in values.items() for name in text.split())
    item, value = np.array(pairs, np.int64).reshape(-1, 2).T
    return Attribute(tuple(names), item, value)


def paths_of_three() -> list[Path]:
    return [
        Path(USER, "a", ("genre", "Horror"), "r1", 0.5),
        Path(USER, "b", ("director", EVIL), "r1", 0.25),
        Path(USER, "a", ("genre", "Horror"), "r2", 0.25),
        Path(USER, "c", None, "r3", 0.125),
    ]
