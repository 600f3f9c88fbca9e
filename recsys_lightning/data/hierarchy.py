"""Hierarchies of attribute values: which value is a kind of which, out of a table of parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.reading.attributes import read_text
from recsys_lightning.data.reading.checks import require_columns
from recsys_lightning.errors import InputError

COLUMNS = ("value", "parent")


def read_parents(file: Path, values: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The hierarchy above the given values; the rest of the file does not matter.

    Args:
        file: CSV of value and parent; a value with several parents stands in several rows, one without in none or in
            one with an empty parent.
        values: of the attribute.

    Returns:
        the values, followed by their ancestors that are none of them, sorted; and (2, E) pairs of the positions of
        child and parent, sorted.

    Raises:
        InputError: the file cannot be read, lacks a column, names none of the values, or goes round in a circle.
    """
    frame = read_text(file, separator=",")
    require_columns(str(file), COLUMNS, list(frame.columns))
    parents: dict[str, set[str]] = {}
    for value, parent in zip(*(frame[name].str.strip() for name in COLUMNS), strict=True):
        if value and parent:
            parents.setdefault(value, set()).add(parent)
    _refuse_circles(file, parents)
    if not parents.keys() & set(values):
        raise InputError(
            f"{file} gives a parent to none of the {len(values):,} values, such as {_some(values)}; it has parents of "
            f"{_some(sorted(parents)) or 'nothing'}. Values must be written as in the data."
        )
    ancestors, waiting = set[str](), list(values)
    while waiting:
        new = parents.get(waiting.pop(), set()) - ancestors
        ancestors |= new
        waiting += new
    names = (*values, *sorted(ancestors - set(values)))
    position = {name: place for place, name in enumerate(names)}
    pairs = sorted((position[child], position[parent]) for child in names for parent in parents.get(child, ()))
    return names, np.array(pairs, np.int64).T.copy()


def _refuse_circles(file: Path, parents: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = " is a ".join(reversed(error.args[1]))
        raise InputError(f"{file} goes round in a circle: {circle}. Remove one of these rows.") from None


def _some(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in list(names)[:3])
