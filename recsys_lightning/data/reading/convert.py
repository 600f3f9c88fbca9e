"""Columns of any type into ids, numbers and seconds, with the rows at fault named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)
ID = pa.dictionary(pa.int32(), pa.string())
"""Arrow type in which ids are read: codes into the distinct ids of a block."""

_NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WHOLE = r"^-?[0-9]{1,18}$"
UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_UNIT_FROM = np.array([1e11, 1e14, 1e17])
"""Times from here on are in the next smaller unit: 1e11 is the year 5138 in seconds and 1973 in milliseconds."""


class Faults:
    """What is wrong with rows: how many, and the first three, for each kind of fault."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._first: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._count)

    def add(self, what: str, rows: NDArray[np.int64]) -> None:
        """Note that these rows have this fault."""
        if len(rows):
            self._count[what] = self._count.get(what, 0) + len(rows)
            first = self._first.setdefault(what, [])
            first.extend(rows[: 3 - len(first)].tolist())

    def sentences(self, locate: Callable[[Sequence[int]], list[int]], unit: str) -> str:
        """One clause a kind of fault.

        Args:
            locate: turns row positions into the numbers to show.
            unit: what these number, `line` or `row`.
        """
        numbers = iter(locate([row for rows in self._first.values() for row in rows]))
        clauses = []
        for what, rows in self._first.items():
            shown = ", ".join(str(next(numbers)) for _ in rows)
            more = ", ..." if self._count[what] > len(rows) else ""
            plural = unit if self._count[what] == 1 else unit + "s"
            clauses.append(f"{what} in {self._count[what]:,} {plural} ({unit} {shown}{more})")
        return "; ".join(clauses)


class Growing(Generic[Scalar]):
    """A vector that grows in place: without ever holding its parts and their concatenation at once."""

    def __init__(self, dtype: type[Scalar]) -> None:
        self._values: NDArray[Scalar] = np.empty(1 << 16, dtype)
        self._length = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add values at the end."""
        end = self._length + len(values)
        if end > len(self._values):
            self._values.resize(max(end, len(self._values) + min(len(self._values), 1 << 20)), refcheck=False)
        self._values[self._length : end] = values
        self._length = end

    def finish(self) -> NDArray[Scalar]:
        """The whole vector; nothing may be added afterwards."""
        self._values.resize(self._length, refcheck=False)
        return self._values


class Codes:
    """Codes of ids that come block by block, each block with a dictionary of its own."""

    def __init__(self) -> None:
        self._codes = Growing(np.int32)
        self._dictionaries: list[pa.StringArray] = []
        self._size = 0

    def append(self, ids: pa.DictionaryArray) -> None:
        """Add a block of ids, all valid."""
        self._codes.append(ids.indices.to_numpy(zero_copy_only=False) + np.int32(self._size))
        self._dictionaries.append(ids.dictionary)
        self._size += len(ids.dictionary)

    def finish(self) -> tuple[NDArray[np.int32], pa.StringArray]:
        """Codes of all rows into the distinct ids, which stand in order of first appearance."""
        joined = pa.chunked_array(self._dictionaries, pa.string()).combine_chunks()
        self._dictionaries.clear()
        encoded = (joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined).dictionary_encode()
        to_final = encoded.indices.to_numpy(zero_copy_only=False)
        codes = self._codes.finish()
        for start in range(0, len(codes), 1 << 20):
            part = codes[start : start + (1 << 20)]
            part[:] = to_final[part]
        return codes, encoded.dictionary


class Column(NamedTuple):
    """A converted block of a column, with masks of the rows at fault by kind of fault."""

    values: Any
    faults: dict[str, Mask]


def ids(values: pa.Array) -> Column:
    """Ids as an array of type `ID`; null and empty are faults."""
    if pa.types.is_dictionary(values.type):
        if values.type != ID:
            values = values.dictionary_decode()
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    empty_code = values.dictionary.index("").as_py()
    if values.null_count == 0 and empty_code < 0:
        return Column(values, {})
    empty = values.is_null().to_numpy(zero_copy_only=False)
    empty |= pc.equal(values.indices, empty_code).fill_null(False).to_numpy(zero_copy_only=False)
    return Column(values, {"is empty": empty})


def numbers(values: pa.Array) -> Column:
    """Finite numbers, int64 or floating; what is empty or no number is a fault, and there the value means nothing."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        return _parsed(values.cast(pa.string()))
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int64())
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    faults = {}
    if values.null_count:
        faults["is empty"] = values.is_null().to_numpy(zero_copy_only=False)
        values = values.fill_null(0)
    found = values.to_numpy(zero_copy_only=False)
    if found.dtype.kind == "f" and not (finite := np.isfinite(found)).all():
        faults["is not a finite number"] = ~finite
    return Column(found, faults)


def times(values: pa.Array, iso: bool) -> Column:
    """Times as numbers in whatever unit they have, or seconds where they are dates.

    Args:
        values: numbers, dates, or texts of either.
        iso: whether texts are ISO 8601 dates (without a zone: UTC) rather than numbers.
    """
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        empty = values.is_null().to_numpy(zero_copy_only=False)
        since = values.cast(pa.timestamp("us", tz=getattr(values.type, "tz", None)), safe=False).cast(pa.int64())
        seconds = since.fill_null(0).to_numpy(zero_copy_only=False) // 1_000_000
        return Column(seconds, {"is empty": empty} if empty.any() else {})
    if iso and not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        texts = values.cast(pa.string()).fill_null("")
        empty = pc.equal(texts, "").to_numpy(zero_copy_only=False)
        dates = pd.to_datetime(pd.Series(texts.to_pandas()), format="ISO8601", utc=True, errors="coerce")
        unread = dates.isna().to_numpy() & ~empty
        seconds = dates.dt.as_unit("s").astype("int64").to_numpy()
        masks = {"is empty": empty, "is not an ISO 8601 date": unread}
        return Column(seconds, {what: mask for what, mask in masks.items() if mask.any()})
    return numbers(values)


def units(values: NDArray[Any]) -> NDArray[np.int8]:
    """Position in `UNITS` of each time, judged by its size; -1 for 0, which is the same in every unit."""
    if len(values) == 0 or (values.max() < _UNIT_FROM[0] and values.min() > -_UNIT_FROM[0]):
        return np.where(values == 0, -1, 0).astype(np.int8)
    size = np.abs(values.astype(np.float64))
    return np.where(size == 0, -1, np.searchsorted(_UNIT_FROM, size, "right")).astype(np.int8)


def looks_iso(text: str) -> bool:
    """Whether a text begins like an ISO 8601 date: 2015-08-03."""
    return len(text) >= 8 and text[:4].isdigit() and text[4] == "-"


def _parsed(texts: pa.StringArray) -> Column:
    trimmed = pc.utf8_trim_whitespace(texts.fill_null(""))
    whole = pc.match_substring_regex(trimmed, _WHOLE)
    number = pc.match_substring_regex(trimmed, _NUMBER)
    readable = pc.if_else(number, trimmed, "0")
    kind = pa.int64() if pc.all(pc.or_(whole, pc.invert(number))).as_py() else pa.float64()
    values = readable.cast(kind).to_numpy(zero_copy_only=False)
    empty = pc.equal(trimmed, "").to_numpy(zero_copy_only=False)
    other = ~number.to_numpy(zero_copy_only=False) & ~empty
    if values.dtype.kind == "f":
        other |= ~np.isfinite(values)
    masks = {"is empty": empty, "is not a finite number": other}
    return Column(values, {what: mask for what, mask in masks.items() if mask.any()})
