"""Features of an item that is not in the data, in plain Python: servers have neither torch nor pandas."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from recsys_lightning.data.item_features.titles import statistics, title_of
from recsys_lightning.data.reading.loose import loose_number

LIMIT = 10.0
"""Z-scores end here: a price of a million says no more than one that is ten deviations off."""


def transform(spec: Mapping[str, Any], record: Mapping[str, object]) -> tuple[list[float], list[list[int]]]:
    """What `fit_features` makes of an item that is known by this record; whatever the record holds, it is no error.

    Args:
        spec: of the fitted features, `ItemFeatures.spec`.
        record: column -> value, as in the table of items. Numbers may be texts (`12.99`, `$12.99`); what is missing,
            is no finite number, or is negative where a logarithm is taken, is unknown. Categories are a text or a list
            of texts; others, and values without a code, are left out. A title that is missing or equals `item_id` is
            unknown.

    Returns:
        the F numbers, and for each kind of categories the codes, ascending.
    """
    numbers: list[float] = []
    for column in spec["numbers"]:
        value = _number(record.get(column["column"]))
        if value is not None and column["log"]:
            value = math.log1p(value) if value >= 0 else None
        numbers.append(0.0 if value is None else _score(value, column))
        if column["gaps"]:
            numbers.append(float(value is None))
    if spec["title"]:
        title = title_of(record.get("title"), record.get("item_id"))
        found = statistics(title)
        numbers += [_score(found[scale["name"]], scale) if title else 0.0 for scale in spec["title"]["scales"]]
        if spec["title"]["gaps"]:
            numbers.append(float(not title))
    return numbers, [_codes(kind, record.get(name)) for name, kind in spec["categories"].items()]


def code_of(kind: Mapping[str, Any], value: str) -> int | None:
    """The code of a value; None where it has none.

    Args:
        kind: of categories, as in the spec: `codes` of values, and how many more are `hashed`.
        value: trimmed.
    """
    own: dict[str, int] = kind["codes"]
    if value in own or not kind["hashed"]:
        return own.get(value)
    # as Python's own hash of texts differs from run to run
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return len(own) + int.from_bytes(digest, "big") % int(kind["hashed"])


def _number(cell: object) -> float | None:
    try:
        return loose_number(cell)
    except ValueError:
        return None


def _score(value: float, scale: Mapping[str, Any]) -> float:
    return max(-LIMIT, min(LIMIT, (value - float(scale["mean"])) / float(scale["deviation"])))


def _codes(kind: Mapping[str, Any], cell: object) -> list[int]:
    cells = [cell] if isinstance(cell, str) else cell if isinstance(cell, list | tuple) else []
    values = {value.strip() for value in cells if isinstance(value, str)} - {""}
    return sorted({code for value in values if (code := code_of(kind, value)) is not None})
