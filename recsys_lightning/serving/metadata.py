"""What metadata of a new item say to a model, and what of them it does not understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from recsys_lightning.data.item_features.titles import title_of
from recsys_lightning.data.item_features.transform import code_of
from recsys_lightning.data.reading.loose import loose_number

LONGEST = 200
"""Characters of a value that are said again."""


class Understood(NamedTuple):
    """What a model makes of metadata."""

    anything: bool
    """Whether there is a title, a number or a category with a code."""
    unknown: list[str]
    """Values that mean nothing to it, such as `genres: SciFi`."""


def understand(spec: Mapping[str, Any], record: Mapping[str, Any]) -> Understood:
    """Tell what features are made of from what leaves none, as `transform` does.

    Args:
        spec: of the features.
        record: column -> value; what is empty or null is no value.
    """
    found = list(_values(spec, record))
    unknown = [f"{column}: {str(value)[:LONGEST]}" for column, value, known in found if not known]
    return Understood(any(known for *_, known in found), list(dict.fromkeys(unknown)))


def _values(spec: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[tuple[str, object, bool]]:
    """Column, value and whether it is understood."""
    for number in spec["numbers"]:
        value = record.get(number["column"])
        try:
            read = loose_number(value)
        except ValueError:
            yield number["column"], value, False
        else:
            if read is not None:
                yield number["column"], value, read >= 0 or not number["log"]
    if spec["title"] and record.get("title") is not None:
        title = record["title"]
        if not isinstance(title, str) or title.strip():
            yield "title", title, bool(title_of(title, record.get("item_id")))
    for name, kind in spec["categories"].items():
        cell = record.get(name)
        for value in cell if isinstance(cell, list | tuple) else [cell]:
            if isinstance(value, str) and not value.strip():
                continue
            if value is not None:
                yield name, value, isinstance(value, str) and code_of(kind, value.strip()) is not None
