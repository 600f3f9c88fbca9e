"""Numbers of items as buckets: quantiles of the items of train, and a bucket for what is unknown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.reading.checks import require_numbers
from recsys_lightning.errors import InputError

UNKNOWN = 0
"""Code of what is unknown."""


def buckets(
    items: pd.DataFrame, names: Sequence[str], number: int, known: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Columns of numbers as codes of buckets; equal numbers share a bucket, and larger ones never get a lower code.

    Where train has at most `number` distinct values, each is a bucket: codes of buckets stay apart. Else the buckets
    hold equally many items of train, but for ties. Values beyond those of train fall into the first or last bucket.

    Args:
        items: row r describes item r.
        names: columns, at least one.
        number: of buckets, at most, without that of the unknown.
        known: (I,) items of train, which decide the buckets.

    Returns:
        (I, C) codes, 0 where the value is unknown, and for each column the number of its buckets, that one included.

    Raises:
        InputError: a column is missing, holds no finite numbers, or says nothing of the items of train.
    """
    codes, sizes = [], {}
    for name in names:
        values = require_numbers(items, name, "data.graph.context")
        missing = np.isnan(values)
        seen = values[known & ~missing]
        if not len(seen):
            raise InputError(
                f"data.graph.context names {name}, which is unknown for all items of train: it tells nothing. "
                "Leave it out."
            )
        starts = _starts(seen, number)
        codes.append(np.where(missing, UNKNOWN, 1 + np.searchsorted(starts, values, side="right")))
        sizes[name] = 2 + len(starts)
    return np.stack(codes, axis=1).astype(np.int64), sizes


def _starts(values: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """The least value of each bucket but the first, ascending."""
    least, *others = np.unique(values)
    if len(others) < number:
        return np.array(others, np.float64)
    cuts = np.arange(1, number) * len(values) // number
    starts = np.unique(np.sort(values)[cuts])
    above: NDArray[np.float64] = starts[starts > least]  # ties at the lower end leave nothing below them
    return above
