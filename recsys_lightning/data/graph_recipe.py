"""What the typed graph is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from recsys_lightning.errors import InputError

Weighing = Literal["none", "rating", "count", "recency"]


@dataclass(frozen=True)
class GraphRecipe:
    """Which nodes and edges the graph has besides users, items and what users did; train rows decide all of it.

    Files are named below the data root.

    Attributes:
        attributes: node types that item attributes make, such as genre or director. Without it those that the data
            set names by default; [] for none.
        min_items: attribute values that fewer items of train have are left out.
        weight: of the edges between users and items: `none`, all alike; `rating`, the rating over the mean of train;
            `count`, log(1 + count) over its mean in train; `recency`, halved with every `half_life` before the user's
            newest row.
        half_life: of the weight recency: in days, or where there is no clock in interactions of the user.
        parents: node type -> CSV file (value,parent) of the hierarchy of its values: an edge `is_a` leads from each
            value to its parents.
        features: item columns of numbers that become features of items, as z-scores.
        vectors: Parquet file (item_id, vector) of further features of items, such as embeddings of their texts.
        context: item columns of numbers that become buckets, for the models that embed them; codes of buckets too.
        buckets: of each context column, at most; one more holds what is unknown.
        shuffle: seed with which the items exchange their attributes, features and context at random: a control that
            keeps the shape of the graph and loses its meaning.
    """

    attributes: list[str] | None = None
    min_items: int = 1
    weight: Weighing = "none"
    half_life: float = 180.0
    parents: dict[str, str] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    vectors: str | None = None
    context: list[str] = field(default_factory=list)
    buckets: int = 10
    shuffle: int | None = None

    def __post_init__(self) -> None:
        for name in ("attributes", "features", "context"):
            names = getattr(self, name) or []
            if twice := sorted({entry for entry in names if names.count(entry) > 1}):
                raise InputError(f"data.graph.{name} names {', '.join(twice)} more than once. Name each once.")
        if self.min_items < 1:
            raise InputError(f"data.graph.min_items is {self.min_items}; it must be at least 1.")
        if self.weight not in get_args(Weighing):
            raise InputError(f"data.graph.weight is {self.weight}; it can be {', '.join(get_args(Weighing))}.")
        if not (self.half_life > 0 and math.isfinite(self.half_life)):
            raise InputError(f"data.graph.half_life is {self.half_life:g}; it must be a positive number.")
        if self.buckets < 2:
            raise InputError(f"data.graph.buckets is {self.buckets}; it must be at least 2.")
        if self.shuffle is not None and self.shuffle < 0:
            raise InputError(f"data.graph.shuffle is {self.shuffle}; a seed must be 0 or more. Leave it out for none.")


PLAIN = GraphRecipe()
"""The default attributes of the data set, edges that weigh the same, no features."""
