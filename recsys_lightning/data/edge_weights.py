"""Weights of the edges between users and items: ratings, counts or recency as positive numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.graph_recipe import Weighing
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.rows import count, offsets, order_within
from recsys_lightning.errors import InputError

LEAST_WEIGHT = 0.01
"""An edge weighs so much at least: ratings of 0 and less, or long ago, are edges still."""

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class EdgeWeights:
    """Weights as fitted on train rows; they apply to whatever rows are visible.

    Attributes:
        kind: how rows are weighed.
        scale: what ratings, or log(1 + count), are divided by: their mean in train.
        half_life: of recency.
    """

    kind: Weighing = "none"
    scale: float = 1.0
    half_life: float = 180.0

    @classmethod
    def fit(cls, kind: Weighing, train: Interactions, half_life: float) -> EdgeWeights:
        """Weights for the rows of a data set, out of its train rows.

        Raises:
            InputError: the rows lack what the weights are made of.
        """
        if kind == "recency" and train.time is None:
            raise InputError(
                "data.graph.weight is recency, but the interactions have neither timestamps nor an order. "
                "Name their column in columns.timestamp or columns.order where the file has one, or choose another."
            )
        if kind not in ("rating", "count"):
            return cls(kind, half_life=half_life)
        if train.rating is None:
            raise InputError(
                f"data.graph.weight is {kind}, but the interactions have no ratings. "
                "Name their column in columns.rating where the file has one, or choose another weight."
            )
        if kind == "count" and (least := float(train.rating.min())) < 0:
            raise InputError(
                f"data.graph.weight is count, but a rating of {least:g} counts nothing. Choose the weight rating."
            )
        values = train.rating.astype(np.float64) if kind == "rating" else np.log1p(train.rating.astype(np.float64))
        if not (scale := float(values.mean())) > 0:
            raise InputError(
                f"data.graph.weight is {kind}, but the ratings of train have a mean of {float(train.rating.mean()):g}: "
                "weights are ratings over their mean, which must be positive. Choose the weight none or recency."
            )
        return cls(kind, scale, half_life)

    def __call__(self, rows: Interactions) -> NDArray[np.float32] | None:
        """(N,) weights above 0 of rows sorted by (user, item); None where all weigh the same."""
        if self.kind == "none":
            return None
        if self.kind == "recency":
            weight = 0.5 ** (_age(rows) / self.half_life)
        else:
            assert rows.rating is not None
            rating = rows.rating.astype(np.float64)
            weight = (rating if self.kind == "rating" else np.log1p(rating.clip(0))) / self.scale
        return weight.clip(LEAST_WEIGHT).astype(np.float32)


def _age(rows: Interactions) -> NDArray[Any]:
    """(N,) days before the user's newest row; without a clock, how many rows of the user are newer."""
    assert rows.time is not None
    degree = count(rows.user, rows.num_users)
    crow = offsets(degree)
    by_time = order_within(crow, rows.time)
    if rows.timestamp is not None:
        newest = np.zeros(rows.num_users, np.int64)
        newest[degree > 0] = rows.timestamp[by_time[crow[1:][degree > 0] - 1]]
        return (newest[rows.user] - rows.timestamp) / SECONDS_PER_DAY
    age = np.empty(len(rows), np.int64)
    age[by_time] = np.repeat(crow[1:], degree) - np.arange(len(rows)) - 1
    return age
