"""Codes of the values of a column: the most frequent ones in train, and what the others share."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_lightning.data.item_features.recipe import FeatureRecipe
from recsys_lightning.data.item_features.transform import code_of
from recsys_lightning.data.rows import count, offsets
from recsys_lightning.errors import InputError
from recsys_lightning.schema import ITEM_ID


@dataclass(frozen=True, eq=False)
class Coded:
    """One kind of categories.

    Attributes:
        kind: what `transform` needs: `codes` of values, the most frequent first, and how many more are `hashed`.
        crow: (I + 1,) the codes of item i are col[crow[i]:crow[i + 1]], ascending.
        col: (E,).
        distinct: values that items of train have, with or without a code of their own.
    """

    kind: dict[str, Any]
    crow: NDArray[np.int64]
    col: NDArray[np.int64]
    distinct: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the codes: values, then `#0`, `#1` ... for those that are shared."""
        return (*self.kind["codes"], *(f"#{place}" for place in range(self.kind["hashed"])))


def code_column(items: pd.DataFrame, name: str, known: NDArray[np.bool_], recipe: FeatureRecipe) -> Coded:
    """The values of a column as codes.

    Args:
        items: row r describes item r; the column holds a text or a list of texts of each. Texts are trimmed, and empty
            ones are none.
        name: of the column.
        known: (I,) items of train, which decide what has a code.
        recipe: how many codes there are.

    Raises:
        InputError: there is no such column of texts, or it tells nothing of the items of train.
    """
    values = _values(items, name)
    item = values.index.to_numpy(np.int64)
    pairs = pd.DataFrame({"item": item, "value": values.to_numpy(object)}).drop_duplicates()
    degree = pairs["value"][known[pairs["item"]]].value_counts()
    if degree.empty:
        raise InputError(f"data.features.categories names {name}, of which no item of train has one. Leave it out.")
    common = degree[degree >= recipe.min_items]
    if common.empty and not recipe.hashed:
        raise InputError(
            f"data.features.categories names {name}, of whose {len(degree):,} values in train none has "
            f"{recipe.min_items} items. Leave it out, choose a smaller data.features.min_items, or give all values "
            "shared codes by data.features.hashed."
        )
    # by items, ties by name
    ranked = sorted(common.items(), key=lambda entry: (-entry[1], str(entry[0])))[: recipe.top]
    kind: dict[str, Any] = {
        "codes": {str(value): place for place, (value, _) in enumerate(ranked)},
        "hashed": recipe.hashed,
    }
    code_by_value = {value: code for value in pairs["value"].unique() if (code := code_of(kind, value)) is not None}
    coded = pairs["value"].map(code_by_value)
    width = len(kind["codes"]) + recipe.hashed
    found = np.unique(pairs["item"][coded.notna()].to_numpy() * width + coded.dropna().to_numpy(np.int64))
    row, col = np.divmod(found, width)
    if np.isin(np.bincount(col[known[row]], minlength=width), (0, known.sum())).all():
        raise InputError(
            f"data.features.categories names {name}, whose codes are the same for every item of train: it tells "
            "nothing. Leave it out."
        )
    return Coded(kind, offsets(count(row, len(items))), col, len(degree))


def _values(items: pd.DataFrame, name: str) -> pd.Series:
    """Texts, indexed by the item."""
    offered = [str(column) for column in items if column != ITEM_ID and not _is_number(items[column])]
    if name not in offered:
        near = difflib.get_close_matches(name, offered, n=1)
        numeric = " It holds numbers: name it in data.features.numbers." if name in items and name != ITEM_ID else ""
        raise InputError(
            f"data.features.categories names {name}, which is no column of texts of the items; there are "
            f"{', '.join(offered) or 'none'}.{f' Did you mean {near[0]}?' if near else ''}{numeric}"
        )
    values = items[name].reset_index(drop=True).explode().dropna().astype(str).str.strip()
    return values[values != ""]


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))
