"""Attribute values of items as indices: vocabularies and (item, value) pairs out of list columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Attribute:
    """Which items have which values of one kind.

    Attributes:
        values: distinct values, sorted; position = index.
        item: (E,) item of each pair, ascending.
        value: (E,) value of each pair, ascending within an item; no pair comes twice.
    """

    values: tuple[str, ...]
    item: NDArray[np.int64]
    value: NDArray[np.int64]


def attributes(items: pd.DataFrame, columns: Mapping[str, str], known: NDArray[np.bool_]) -> dict[str, Attribute]:
    """Attributes by node type, for the types that have any value.

    Args:
        items: row r describes item r; the named columns hold a list of strings, or one string, for each item.
        columns: node type of each column; columns of one type share a vocabulary.
        known: (I,) items whose values make the vocabulary; other items keep only values that are in it.
    """
    found: dict[str, list[pd.Series]] = {}
    for column, node_type in columns.items():
        if column in items:
            values = items[column].reset_index(drop=True).explode().dropna().astype(str)
            found.setdefault(node_type, []).append(values[values != ""])
    return {
        node_type: attribute
        for node_type, values in found.items()
        if (attribute := _attribute(pd.concat(values), known)).values
    }


def common(attribute: Attribute, known: NDArray[np.bool_], least: int) -> Attribute:
    """The values that at least so many known items have.

    Args:
        attribute: of all items.
        known: (I,) items that count.
        least: number of items.
    """
    size = len(attribute.values)
    kept = np.bincount(attribute.value[known[attribute.item]], minlength=size) >= least
    chosen, code = kept[attribute.value], np.cumsum(kept) - 1
    values = tuple(value for value, keep in zip(attribute.values, kept, strict=True) if keep)
    return Attribute(values, attribute.item[chosen], code[attribute.value[chosen]])


def moved(attribute: Attribute, place: NDArray[np.int64]) -> Attribute:
    """The attribute when item i gives its values to item `place[i]`, place (I,) being a permutation."""
    item = place[attribute.item]
    order = np.argsort(item, kind="stable")
    return Attribute(attribute.values, item[order], attribute.value[order])


def multi_hot(attribute: Attribute, num_items: int) -> NDArray[np.float32]:
    """(I, values) 1 where the item has the value."""
    matrix = np.zeros((num_items, len(attribute.values)), np.float32)
    matrix[attribute.item, attribute.value] = 1
    return matrix


def _attribute(values: pd.Series, known: NDArray[np.bool_]) -> Attribute:
    item = values.index.to_numpy(np.int64)
    vocabulary = pd.Index(sorted(values[known[item]].unique()))
    code = vocabulary.get_indexer(values)
    pairs = np.unique(item[code >= 0] * max(1, len(vocabulary)) + code[code >= 0])
    return Attribute(tuple(vocabulary), *np.divmod(pairs, max(1, len(vocabulary))))
