"""What the gates of a model choose, and what that goes with: reviews, and how well known an item or a user is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.reports.ablation import quarters
from recsys_lightning.reports.tables import markdown_table

GATE, VALUE, SIZE, REVIEWS = "gate", "value", "size", "reviews"
"""Columns of a table of gates."""
OF = {"review": "items", "item": "items", "user": "users"}
"""What has a gate of each kind."""
SIZES = {"items": "positives", "users": "rows"}
"""What is counted of items and users to say how well known they are."""

Numbers = NDArray[np.float64]


class Spread(NamedTuple):
    """How gates of one kind lie, over all that have one or over a quarter of these; means over seeds."""

    gate: str
    over: str
    number: int
    mean: float
    sd: float


class Association(NamedTuple):
    """Spearman's correlation of gates with what they may depend on: mean, lowest and highest of the seeds."""

    gate: str
    against: str
    number: int
    mean: float | None  # None where either is the same everywhere
    low: float | None
    high: float | None


def gate_table(
    gate: str, value: NDArray[np.floating], size: NDArray[np.integer], reviews: NDArray[np.integer] | None = None
) -> pd.DataFrame:
    """Gates of one kind under one seed.

    Args:
        gate: `review`, `item` or `user`.
        value: (N,) of each item or user.
        size: (N,) positives of the item, or rows of the user.
        reviews: (N,) of the item; None for users.
    """
    counted = np.full(len(value), np.nan) if reviews is None else reviews.astype(np.float64)
    return pd.DataFrame({GATE: gate, VALUE: value.astype(np.float64), SIZE: size, REVIEWS: counted})


def spreads(tables: Sequence[pd.DataFrame]) -> list[Spread]:
    """Mean and standard deviation of each gate: over all that have it, and over quarters by how well known these are.

    Args:
        tables: of the same gates, a table a seed.
    """
    found = []
    for gate, first, values in _gates(tables):
        things, size = OF[gate], first[SIZE].to_numpy()
        groups = [(f"all {things}", np.ones(len(size), bool))]
        groups += [
            (f"{things} with {size[part].min()} to {size[part].max()} {SIZES[things]}", part) for part in quarters(size)
        ]
        for over, part in groups:
            chosen = values[:, part]
            found.append(Spread(gate, over, chosen.shape[1], float(chosen.mean()), float(chosen.std(axis=1).mean())))
    return found


def associations(tables: Sequence[pd.DataFrame]) -> list[Association]:
    """What gates go with, in ranks.

    Args:
        tables: of the same gates, a table a seed.
    """
    found = []
    for gate, first, values in _gates(tables):
        for against, column in ((REVIEWS, REVIEWS), (SIZES[OF[gate]], SIZE)):
            other = first[column].to_numpy(np.float64)
            if np.isnan(other).any():
                continue
            of_seeds = [rho for row in values if (rho := spearman(row, other)) is not None]
            mean, low, high = (float(np.mean(of_seeds)), min(of_seeds), max(of_seeds)) if of_seeds else (None,) * 3
            found.append(Association(gate, against, len(other), mean, low, high))
    return found


def spearman(x: Numbers, y: Numbers) -> float | None:
    """Spearman's rank correlation of (N,) with (N,); None where one of them is the same everywhere."""
    from scipy.stats import spearmanr

    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return None
    return float(spearmanr(x, y).statistic)


def gate_section(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """What gates of models say, in Markdown.

    Args:
        models: tables of gates by name of the model, a table a seed.
    """
    parts = [
        "## Gates",
        "The gate of reviews is the share of an item's overview beside its reviews, over the items that have both; the "
        "others are shares of the text view beside the graph view, or of metadata beside IDs. Positives and rows are "
        "those that the model saw; a correlation is Spearman's, with the lowest and the highest of the seeds.",
    ]
    for name, tables in models.items():
        related = [
            (*entry[:4], "" if entry.low is None else f"{entry.low:+.4f} to {entry.high:+.4f}")
            for entry in associations(tables)
        ]
        parts += [
            f"### {name}",
            markdown_table(("gate", "over", "number", "mean", "sd"), spreads(tables)),
            markdown_table(("gate", "goes with", "number", "correlation", "of the seeds"), related),
        ]
    return "\n\n".join(parts)


def _gates(tables: Sequence[pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame, Numbers]]:
    """Of each gate its name, its rows under the first seed, and values (S, N)."""
    for gate in tables[0][GATE].unique():
        rows = [table[table[GATE] == gate] for table in tables]
        yield str(gate), rows[0], np.stack([table[VALUE].to_numpy(np.float64) for table in rows])
