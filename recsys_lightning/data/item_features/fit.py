"""From the columns of items to their features, and the same for items that are not in the data."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.features import Scale
from recsys_lightning.data.item_features.categories import Coded, code_column
from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.item_features.titles import statistics, title_of
from recsys_lightning.data.item_features.transform import LIMIT
from recsys_lightning.data.reading.checks import require_numbers
from recsys_lightning.data.rows import offsets
from recsys_lightning.data.text.controls import partners
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID, TITLE

if TYPE_CHECKING:
    from recsys_lightning.batches import Features
    from recsys_lightning.data.prepared import Prepared


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Features of all items.

    Attributes:
        numbers: names of the numbers.
        matrix: (I, F) the numbers.
        coded: the codes of each kind of categories; the kinds are the columns.
        spec: all that `transform` needs to make the features of another item, as plain values of JSON.
    """

    numbers: tuple[str, ...]
    matrix: NDArray[np.float32]
    coded: dict[str, Coded]
    spec: dict[str, Any]

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Names of the codes of each kind."""
        return {kind: coded.names for kind, coded in self.coded.items()}

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with any number, code or name."""
        digest = hashlib.blake2b(json.dumps(self.spec).encode(), digest_size=8)
        parts: list[NDArray[Any]] = [part for coded in self.coded.values() for part in (coded.crow, coded.col)]
        for array in (self.matrix, *parts):
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def sizes(self) -> dict[str, Any]:
        """What the schema holds of them: `numbers`, `categories`, `features`."""
        sizes = {kind: len(names) for kind, names in self.categories.items()}
        return {"numbers": self.numbers, "categories": sizes, "features": self.digest}

    def tensors(self) -> Features:
        """As models read them, on the CPU."""
        import torch

        from recsys_lightning.batches import CSR, Features

        codes = (CSR(torch.from_numpy(coded.crow), torch.from_numpy(coded.col)) for coded in self.coded.values())
        return Features(torch.from_numpy(self.matrix), tuple(codes))

    def take(self, source: NDArray[np.int64]) -> ItemFeatures:
        """What results when item i gets the features of item source[i]."""
        moved = {}
        for kind, coded in self.coded.items():
            degree = np.diff(coded.crow)[source]
            crow = offsets(degree)
            place = np.arange(crow[-1]) + np.repeat(coded.crow[source] - crow[:-1], degree)
            moved[kind] = replace(coded, crow=crow, col=coded.col[place])
        return replace(self, matrix=self.matrix[source], coded=moved)


def fit_features(prepared: Prepared, recipe: FeatureRecipe) -> ItemFeatures:
    """The features of all items, fitted on those of train: held-out rows change nothing.

    A column that was gathered after the interactions is used with a warning.

    Args:
        prepared: the data.
        recipe: what is wanted.

    Raises:
        InputError: a column is missing, is of another kind, or tells nothing of the items of train.
    """
    if late := [name for name in recipe.columns if name in prepared.later]:
        warnings.warn(
            f"data.features names {', '.join(late)}, which {'was' if len(late) == 1 else 'were'} gathered after the "
            "interactions: such features tell of the future, and results with them are too good to compare.",
            stacklevel=2,
        )
    known, items = prepared.in_train, prepared.items
    scaled, columns, names = _numbers(items, known, recipe)
    title, of_title, title_names = _title(items, known) if recipe.title else (None, [], [])
    coded = {name: code_column(items, name, known, recipe) for name in recipe.categories}
    columns, names = columns + of_title, names + title_names
    if not columns and not coded:
        raise InputError(
            "data.features names no columns, and the items of train have no titles that differ. Name numbers, logs or "
            f"categories; there are {', '.join(map(str, items.columns.drop([ITEM_ID, TITLE]))) or 'no columns'}."
        )
    spec = {"numbers": scaled, "title": title, "categories": {name: found.kind for name, found in coded.items()}}
    matrix = np.stack(columns, axis=1) if columns else np.empty((len(items), 0))
    features = ItemFeatures(tuple(names), matrix.clip(-LIMIT, LIMIT).astype(np.float32), coded, spec)
    return features if recipe.shuffle is None else features.take(partners(known, recipe.shuffle))


Fitted = tuple[list[dict[str, Any]], list[NDArray[np.float64]], list[str]]


def _numbers(items: pd.DataFrame, known: NDArray[np.bool_], recipe: FeatureRecipe) -> Fitted:
    """Scales, columns and names of the numbers, plain ones first."""
    scaled: list[dict[str, Any]] = []
    columns: list[NDArray[np.float64]] = []
    names: list[str] = []
    wanted = [(name, False) for name in recipe.numbers] + [(name, True) for name in recipe.logs]
    for name, log in wanted:
        option = "data.features.logs" if log else "data.features.numbers"
        values = require_numbers(items, name, option)
        if log:
            _require_positive(items, name, values)
            values = np.log1p(values)
        scale = Scale.fit(values, known, name, option)
        scaled.append({"name": f"log_{name}" if log else name, "column": name, "log": log} | asdict(scale))
        columns += scale.columns(values)
        names += [scaled[-1]["name"], *([f"{name}_unknown"] if scale.gaps else [])]
    return scaled, columns, names


def _title(
    items: pd.DataFrame, known: NDArray[np.bool_]
) -> tuple[dict[str, Any] | None, list[NDArray[np.float64]], list[str]]:
    """Scales, columns and names of the numbers of titles; those that are equal in train are left out."""
    titles = list(map(title_of, items[TITLE], items[ITEM_ID]))
    missing = np.array([not title for title in titles])
    found = pd.DataFrame([statistics(title) for title in titles], dtype=np.float64)
    found[missing] = np.nan
    told = [str(name) for name in found if found[name][known].nunique() > 1]
    if not told:
        return None, [], []
    scales = {name: Scale.fit(found[name].to_numpy(), known, name, "data.features.title") for name in told}
    columns = [scale.columns(found[name].to_numpy())[0] for name, scale in scales.items()]
    gaps = bool(missing[known].any())
    spec = [{"name": name, "mean": scale.mean, "deviation": scale.deviation} for name, scale in scales.items()]
    if gaps:
        columns.append(missing.astype(np.float64))
    return {"scales": spec, "gaps": gaps}, columns, told + (["title_unknown"] if gaps else [])


def _require_positive(items: pd.DataFrame, name: str, values: NDArray[np.float64]) -> None:
    low: Sequence[str] = items[ITEM_ID][values < 0].tolist()
    if low:
        raise InputError(
            f"data.features.logs names {name}, which is negative for {len(low):,} items, first {low[0]!r}: it has no "
            "logarithm. Name it in data.features.numbers, or mend the table of items."
        )
