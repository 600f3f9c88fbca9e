"""Features of items as rows of numbers, standardised by the items of train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys_lightning.data.reading.checks import require_numbers
from recsys_lightning.data.vector_file import read_vectors
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID


@dataclass(frozen=True)
class Scale:
    """How a column of numbers becomes z-scores.

    Attributes:
        mean: over the items of train of which the number is known.
        deviation: standard deviation over the same.
        gaps: whether the number of an item of train is unknown; a column of its own then says of which items it is.
    """

    mean: float
    deviation: float
    gaps: bool

    @classmethod
    def fit(cls, values: NDArray[np.float64], known: NDArray[np.bool_], name: str, option: str) -> Scale:
        """The scale of a column.

        Args:
            values: (I,), NaN where unknown.
            known: (I,) items of train.
            name: of the column, for messages.
            option: that names it, likewise.

        Raises:
            InputError: the column says nothing of the items of train.
        """
        seen = values[known & ~np.isnan(values)]
        # np.ptp, as the deviation of equal numbers need not be exactly 0
        if not len(seen) or np.ptp(seen) == 0 or seen.std() == 0:
            what = f"is {seen[0]:g} for every item" if len(seen) else "is unknown for all items"
            raise InputError(f"{option} names {name}, which {what} of train: it tells nothing. Leave it out.")
        return cls(float(seen.mean()), float(seen.std()), len(seen) < int(known.sum()))

    def columns(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The z-scores, 0 where unknown, and with gaps a column that is 1 where unknown, else 0."""
        missing = np.isnan(values)
        scores = np.where(missing, 0.0, (values - self.mean) / self.deviation)
        return [scores, missing.astype(np.float64)] if self.gaps else [scores]


def numbers(items: pd.DataFrame, names: Sequence[str], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns of numbers as z-scores, unknown ones as 0.

    A column that is unknown for an item of train is followed by a column that is 1 where it is unknown, else 0.

    Args:
        items: row r describes item r.
        names: columns.
        known: (I,) items of train, of which means and deviations are taken.

    Raises:
        InputError: a column is missing, holds no numbers, or says nothing of the items of train.
    """
    columns: list[NDArray[np.float64]] = []
    for name in names:
        values = require_numbers(items, name, "data.graph.features")
        columns += Scale.fit(values, known, name, "data.graph.features").columns(values)
    return np.stack(columns, axis=1).astype(np.float32)


def vectors(file: Path, item_ids: pa.StringArray, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(I, D) vectors of a Parquet file with columns item_id and vector, over their mean norm; items without one get 0.

    Args:
        file: a row an item; items that are not in the data do not matter.
        item_ids: raw ids of the items.
        known: (I,) items of train, of which the mean norm is taken.

    Raises:
        InputError: the file is missing or no Parquet, ids repeat, vectors differ in width or hold no numbers, or no
            item of train has one.
    """
    ids, matrix = read_vectors(file)
    row = ids.get_indexer(item_ids.to_pandas())
    if not (known & (row >= 0)).any():
        raise InputError(
            f"{file} has a vector for no item of train: its ids look like {ids[0]!r}, those of the data like "
            f"{item_ids[0].as_py()!r}. Write the raw ids of the data into its column {ITEM_ID}."
        )
    found = np.where((row >= 0)[:, None], matrix[row], 0.0)
    norm = np.linalg.norm(found[known & (row >= 0)], axis=1).mean()
    if norm == 0:
        raise InputError(f"{file} holds vectors of zeros only, for the items of train. Leave data.graph.vectors out.")
    scaled: NDArray[np.float32] = (found / norm).astype(np.float32)
    return scaled
