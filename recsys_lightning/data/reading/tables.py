"""Interactions out of any table: CSV, TSV, Parquet, a DataFrame, an Arrow table.

Ids stay the strings they were written as. A table is read block by block, so that memory is that of the result: codes,
ratings and times. A row that cannot be understood is an error that names the first such lines, never a guess.
"""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.reading import convert, frames
from recsys_lightning.data.reading.checks import File, require_columns, require_file
from recsys_lightning.data.reading.delimited import SuspectError, Text, look
from recsys_lightning.errors import InputError
from recsys_lightning.schema import SPLITS, TEST, TRAIN

Frame: TypeAlias = pd.DataFrame | pa.Table
Locate: TypeAlias = Callable[[Sequence[int]], list[int]]
OnBad: TypeAlias = Literal["error", "drop"]
_BLOCK_ROWS = 1 << 18
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    Attributes:
        user_id: who.
        item_id: with what.
        rating: how much; None for implicit feedback.
        timestamp: when: seconds since 1970 (or milli-, micro-, nanoseconds, told by their size) or ISO 8601 dates.
        order: position in the user's own time line, where there is no clock.
        domain: domain of the item, e.g. book or movie.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    rating: str | None = None
    timestamp: str | None = None
    order: str | None = None
    domain: str | None = None

    @property
    def used(self) -> dict[str, str]:
        """Role -> column, for the roles in use."""
        return {role: column for role, column in vars(self).items() if column is not None}


def read_interactions(
    table: File | Frame,
    columns: Columns,
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
    on_bad: OnBad = "error",
) -> Interactions:
    """Read interactions; nothing is filtered, duplicates and the order of rows stay.

    Args:
        table: a CSV or TSV file, plain or gzip, a Parquet file, a DataFrame or an Arrow table.
        columns: which column holds what.
        separator: between the columns of a text file; None finds it out.
        names: of the columns of a text file without a header line.
        encoding: of a text file.
        quoting: whether `"` protects separators in a text file.
        on_bad: `error` refuses a table with bad rows (empty ids, times or ratings, ratings that are no numbers, too
            many or too few columns); `drop` leaves them out and warns of how many.

    Raises:
        InputError: the file is missing, damaged, of another layout, or holds rows that cannot be understood.
    """
    if isinstance(table, pd.DataFrame | pa.Table):
        arrow = frames.to_arrow(table, columns.used)
        blocks = partial(arrow.to_batches, _BLOCK_ROWS)
        return _build(_Feed("the table", blocks, _starts_iso(arrow, columns)), columns, on_bad)
    if isinstance(table, Path) and table.suffix in _PARQUET:
        return _read_parquet(table, columns, on_bad)
    text = look(table, separator=separator, names=names, encoding=encoding, quoting=quoting)
    text.require(list(columns.used.values()))
    return _read_text(text, columns, on_bad)


def stack(parts: Sequence[Interactions]) -> Interactions:
    """Rows of several tables one after another, over one set of ids; columns that not all of them have are left out."""
    users, user_ids = _merge([(part.user, part.user_ids) for part in parts])
    items, item_ids = _merge([(part.item, part.item_ids) for part in parts])
    rest: dict[str, Any] = {}
    for name in ("rating", "timestamp", "order", "split"):
        found = [column for part in parts if (column := getattr(part, name)) is not None]
        rest[name] = np.concatenate(found) if len(found) == len(parts) else None
    return Interactions(users, items, user_ids, item_ids, **rest)


def official(train: Interactions, test: Interactions) -> Interactions:
    """The two parts of a publisher's split, stacked, with the split of each row."""
    codes = np.array([SPLITS.index(TRAIN), SPLITS.index(TEST)], np.int8)
    return replace(stack([train, test]), split=np.repeat(codes, [len(train), len(test)]))


def join_domains(parts: Mapping[str, Interactions]) -> Interactions:
    """Rows of one table a domain, users with the same id being the same user.

    Raises:
        InputError: an item id stands in two domains.
    """
    whole = stack(list(parts.values()))
    row_domain = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    return _with_domains("The files of the domains", whole, row_domain, list(parts))


def positions(user: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,) position of each row among the rows of its user, for files whose order is that of time."""
    order = np.argsort(user, kind="stable")
    count = np.bincount(user)
    first = np.repeat(count.cumsum() - count, count)
    place = np.empty(len(user), np.int64)
    place[order] = np.arange(len(user)) - first
    return place


@dataclass(frozen=True)
class _Feed:
    """A table as blocks of rows.

    Attributes:
        where: the table, for messages.
        blocks: reads it from the start.
        iso: whether times are texts of ISO 8601 dates.
        unit: what numbers of rows are called, `row` or `line`.
        locate: turns positions of rows into these numbers.
        skipped: lines that `blocks` left out, once it is read.
        locate_skipped: turns these into line numbers.
    """

    where: str
    blocks: Callable[[], Iterable[pa.RecordBatch]]
    iso: bool
    unit: str = "row"
    locate: Locate = list
    skipped: Sequence[int] = ()
    locate_skipped: Locate = list


def _read_text(text: Text, columns: Columns, on_bad: OnBad) -> Interactions:
    used, where = columns.used, str(text.file)
    iso, whole = False, True
    if columns.timestamp:
        place = text.header.index(columns.timestamp)
        first = next((row[place] for row in text.sample if len(row) > place and row[place]), "")
        iso, whole = convert.looks_iso(first), first.strip().lstrip("-").isdigit()
    kinds = {
        "user_id": convert.ID,
        "item_id": convert.ID,
        "rating": pa.float32(),
        "timestamp": pa.string() if iso else pa.int64() if whole else pa.float64(),
        "order": pa.int64(),
        "domain": convert.ID,
    }
    try:
        typed = partial(text.blocks, {column: kinds[role] for role, column in used.items()})
        return _build(_Feed(where, typed, iso, "line", text.lines), columns, on_bad)
    except SuspectError:
        pass
    skipped: array[int] = array("q")
    careful = partial(text.blocks, dict.fromkeys(used.values(), pa.string()), skipped)
    locate = partial(text.lines, skipped=skipped)
    try:
        return _build(_Feed(where, careful, iso, "line", locate, skipped, text.physical), columns, on_bad)
    except SuspectError as error:
        raise InputError(f"{where} cannot be read as columns separated by {text.separator!r}: {error}") from None


def _read_parquet(path: Path, columns: Columns, on_bad: OnBad) -> Interactions:
    require_file(path)
    used = list(columns.used.values())
    try:
        file = pq.ParquetFile(path)
        require_columns(str(path), used, file.schema_arrow.names)
        frames.require_id_types(str(path), file.schema_arrow, columns.used)
        blocks = partial(file.iter_batches, _BLOCK_ROWS, columns=used)
        iso = any(_starts_iso(head, columns) for head in islice(file.iter_batches(1, columns=used), 1))
        return _build(_Feed(str(path), blocks, iso), columns, on_bad)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a Parquet file, or is cut off or damaged: {error}") from None


def _build(feed: _Feed, columns: Columns, on_bad: OnBad) -> Interactions:
    builder = _Builder(columns, feed.iso)
    for block in feed.blocks():
        builder.add(block)
    faults = [builder.faults.sentences(feed.locate, feed.unit)] if len(builder.faults) else []
    if feed.skipped:
        ragged = convert.Faults()
        ragged.add("the number of columns is not that of the first line", np.asarray(feed.skipped, np.int64))
        faults.append(ragged.sentences(feed.locate_skipped, feed.unit))
    total, kept = builder.rows + len(feed.skipped), len(builder)
    told = f"{feed.where}: {total - kept:,} of {total:,} rows cannot be used: {'; '.join(faults)}."
    if faults and on_bad == "error":
        raise InputError(f"{told} Mend them, or set on_bad to drop to leave these rows out.")
    if kept == 0:
        raise InputError(told if faults else f"{feed.where} holds no rows.")
    made = builder.finish(feed)
    if faults:
        warnings.warn(f"{told} They were dropped.", stacklevel=4)
    return made


class _Builder:
    """Takes blocks of rows, keeps the good ones as compact columns, and notes what is wrong with the others."""

    def __init__(self, columns: Columns, iso: bool) -> None:
        self.faults, self.rows = convert.Faults(), 0
        self._used, self._iso, self._kept = columns.used, iso, 0
        self._units = convert.Faults()
        self._codes = {role: convert.Codes() for role in ("user_id", "item_id", "domain") if role in self._used}
        self._rating = convert.Growing(np.float32)
        self._whole: dict[str, convert.Growing[np.int64]] = {
            role: convert.Growing(np.int64) for role in ("timestamp", "order") if role in self._used
        }

    def __len__(self) -> int:
        return self._kept

    def add(self, block: pa.RecordBatch) -> None:
        parts = {role: self._convert(role, block.column(column)) for role, column in self._used.items()}
        bad: NDArray[np.bool_] | None = None
        for role, part in parts.items():
            for what, mask in part.faults.items():
                self.faults.add(f"column {self._used[role]!r} {what}", np.flatnonzero(mask) + self.rows)
                bad = mask if bad is None else bad | mask
        good = None if bad is None else ~bad
        for role, part in parts.items():
            self._keep(role, part.values, good)
        self.rows += len(block)
        self._kept += len(block) if good is None else int(good.sum())

    def finish(self, feed: _Feed) -> Interactions:
        if len(self._units) > 1:
            raise InputError(
                f"{feed.where}: column {self._used['timestamp']!r} mixes units of time: "
                f"{self._units.sentences(feed.locate, feed.unit)}. Bring them to one unit."
            )
        user, user_ids = self._codes["user_id"].finish()
        item, item_ids = self._codes["item_id"].finish()
        whole = {role: column.finish() for role, column in self._whole.items()}
        if "timestamp" in whole and len(self._units):
            whole["timestamp"] //= 1000 ** convert.UNITS.index(next(iter(self._units)))
        rating = self._rating.finish() if "rating" in self._used else None
        made = Interactions(
            user, item, user_ids, item_ids, rating, timestamp=whole.get("timestamp"), order=whole.get("order")
        )
        if "domain" not in self._used:
            return made
        row_domain, names = self._codes["domain"].finish()
        return _with_domains(f"{feed.where}, column {self._used['domain']!r}", made, row_domain, names.to_pylist())

    def _convert(self, role: str, values: pa.Array) -> convert.Column:
        if role in self._codes:
            return convert.ids(values)
        return convert.times(values, self._iso) if role == "timestamp" else convert.numbers(values)

    def _keep(self, role: str, values: Any, good: NDArray[np.bool_] | None) -> None:
        if role in self._codes:
            if good is not None:  # encoded anew, so that ids of dropped rows are forgotten
                values = values.filter(pa.array(good)).dictionary_decode().dictionary_encode()
            self._codes[role].append(values)
            return
        if role == "timestamp":
            found = convert.units(values) if good is None else np.where(good, convert.units(values), -1)
            for place, name in enumerate(convert.UNITS):
                self._units.add(name, np.flatnonzero(found == place) + self.rows)
        chosen = values if good is None else values[good]
        if role == "rating":
            self._rating.append(chosen)
        else:
            self._whole[role].append(np.floor(chosen) if chosen.dtype.kind == "f" else chosen)


def _merge(parts: Sequence[tuple[NDArray[np.int32], pa.StringArray]]) -> tuple[NDArray[np.int32], pa.StringArray]:
    merged = convert.Codes()
    for codes, ids in parts:
        merged.append(pa.DictionaryArray.from_arrays(pa.array(codes), ids))
    return merged.finish()


def _with_domains(
    where: str, whole: Interactions, row_domain: NDArray[np.integer[Any]], domains: Sequence[str]
) -> Interactions:
    """Interactions with the domain of each item, given that of each row."""
    if len(domains) > 127:
        raise InputError(f"{where}: {len(domains):,} domains; at most 127 are supported. Is it the right column?")
    domain = np.zeros(whole.num_items, np.int8)
    domain[whole.item] = row_domain
    twice = np.unique(whole.item[domain[whole.item] != row_domain])
    if len(twice):
        some = ", ".join(
            f"{whole.item_ids[item].as_py()!r} ({', '.join(domains[code] for code in codes[:2])})"
            for item in twice[:3].tolist()
            for codes in [np.unique(row_domain[whole.item == item])]
        )
        stand = "1 item id stands" if len(twice) == 1 else f"{len(twice):,} item ids stand"
        raise InputError(
            f"{where}: {stand} in more than one domain, for instance {some}. "
            "Remove them from all but one, or make the ids differ, for instance by a prefix."
        )
    return replace(whole, domain=domain, domains=tuple(domains))


def _starts_iso(head: pa.Table | pa.RecordBatch, columns: Columns) -> bool:
    """Whether the first time of a table is an ISO 8601 text."""
    if columns.timestamp is None or head.num_rows == 0:
        return False
    return convert.looks_iso(str(head.column(columns.timestamp)[0].as_py()))
