"""What a person wants to know of a data set, as plain text of at most 100 columns."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.overlap import overlap
from recsys_lightning.data.sources import DATA_SETS, open_source
from recsys_lightning.data.sources.base import Raw, Source
from recsys_lightning.schema import SPLITS

if TYPE_CHECKING:
    from recsys_lightning.data.prepared import Prepared

_WIDTH, _LABEL = 100, 16
_BAR = 30
LATER = " (later)"


def describe(source: Source) -> str:
    """The card of a data set: where it comes from, its files and, where they are there, what is in them.

    Raises:
        InputError: the files are there but cannot be read.
    """
    card, folder = source.card, source.path("")
    missing = [file for file in source.files() if not file.is_file()]
    parts = [f"{source.name}: {card.title}", ""]
    parts += _row("licence", card.licence)
    parts += _row("about it", card.homepage)
    parts += _row("folder", str(folder))
    parts += _row("files", "")
    read = {file: "" for file in source.files()}
    for file, what in {**read, **{folder / name: what for name, what in card.files.items()}}.items():
        name = file.relative_to(folder) if file.is_relative_to(folder) else file
        if file.is_file():
            parts += _wrapped(f"{name}, {file.stat().st_size:,} bytes: {what}".rstrip(": "), "  ")
        elif missing:
            parts += _wrapped(f"{name}, not there: {what}".rstrip(": "), "  ")
    if missing:
        parts += ["", *_wrapped(f"To get it: {card.directions(folder)}", "")]
    else:
        parts += ["", *_content(source.read(), source)]
    if card.notes:
        parts += ["", "notes", *(line for note in card.notes for line in _wrapped(note, "  "))]
    return "\n".join(line.rstrip() for line in parts)


def catalogue(root: Path) -> str:
    """A line for each data set that needs nothing but its name: name, whether it is there, title."""
    sources = [open_source(name, root) for name in sorted(DATA_SETS)]
    there = ["yes" if all(file.is_file() for file in source.files()) else "no" for source in sources]
    rows = [("name", "there", "title"), *((s.name, yes, s.card.title) for s, yes in zip(sources, there, strict=True))]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:<{width}}  {present:<5}  {title}" for name, present, title in rows)


def _content(raw: Raw, source: Source) -> list[str]:
    found = raw.interactions
    users, items = len(np.unique(found.user)), len(np.unique(found.item))
    lines = _row("interactions", f"{len(found):,}")
    lines += _row("users", f"{users:,} ({_spread(np.bincount(found.user))} interactions each)")
    lines += _row(f"items ({source.item_type})", f"{items:,} ({_spread(np.bincount(found.item))} interactions each)")
    lines += _row("density", f"{len(found) / users / items:.4%}")
    lines += _row("duplicates", _duplicates(found))
    lines += _time(found)
    if found.split is not None:
        count = np.bincount(found.split, minlength=len(SPLITS))
        named = ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, count, strict=True) if n)
        lines += _row("official split", named)
    if found.domain is not None:
        lines += _domains(found)
    lines += _ratings(found)
    for title, table, ids in (
        ("items", raw.items, found.item_ids.to_pandas()),
        ("users", raw.users, found.user_ids.to_pandas()),
    ):
        if len(table.columns):
            lines += ["", *attributes(title, table.reindex(pd.Index(ids)), source)]
    return lines


def _spread(degree: np.ndarray) -> str:
    degree = degree[degree > 0]
    return f"{degree.min():,} to {degree.max():,}, median {int(np.median(degree)):,}"


def _duplicates(found: Interactions) -> str:
    distinct = len(np.unique(found.user.astype(np.int64) * found.num_items + found.item))
    repeated = len(found) - distinct
    return f"{repeated:,} rows repeat a pair of user and item; {distinct:,} distinct pairs" if repeated else "none"


def _time(found: Interactions) -> list[str]:
    if found.timestamp is not None:
        first, last = (datetime.fromtimestamp(int(t), UTC) for t in (found.timestamp.min(), found.timestamp.max()))
        return _row("time", f"{first:%Y-%m-%d} to {last:%Y-%m-%d} (UTC)")
    if found.order is not None:
        return _row("time", "no clock; the order within each user is known")
    return _row("time", "none, and no order")


def _domains(found: Interactions) -> list[str]:
    own, lines = overlap(found), []
    for name, *sizes, density in zip(found.domains, own.rows, own.users, own.items, own.density, strict=True):
        rows, users, items = sizes
        told = f"{rows:,} interactions, {users:,} users, {items:,} items, density {density:.4%}"
        lines += _row(f"domain {name}", told)
    share = own.shared / own.everybody
    lines += _row("shared users", f"{own.shared:,} have interactions in more than one domain ({share:.1%} of all)")
    return lines + _row("users by domain", ", ".join(f"{users:,} in {name}" for name, users in own.in_words()))


def _ratings(found: Interactions) -> list[str]:
    if found.rating is None:
        return _row("ratings", "none (implicit feedback)")
    values, count = np.unique(found.rating, return_counts=True)
    mean = f"mean {found.rating.mean(dtype=np.float64):.2f}"
    if len(values) > 12:
        quarters = np.percentile(found.rating, [0, 25, 50, 75, 100])
        names = ("least", "quarter", "median", "three quarters", "most")
        shown = ", ".join(f"{name} {value:,.10g}" for name, value in zip(names, quarters, strict=True))
        return _row("ratings", f"{len(values):,} distinct values, {mean}; {shown}")
    lines = _row("ratings", mean)
    for value, n in zip(values, count, strict=True):
        bar = "#" * round(_BAR * n / count.max())
        lines.append(f"  {value:>{_LABEL - 4}g}  {n:>12,}  {n / len(found):>6.1%}  {bar}")
    return lines


def attributes(title: str, table: pd.DataFrame, of: Source | Prepared) -> list[str]:
    """A line for each column: of how many rows it is known, its distinct values, and the most frequent ones.

    Args:
        title: of the table.
        table: a row an item or user.
        of: says which columns become nodes, and which were gathered after the interactions.
    """
    labels = []
    for name in map(str, table):
        kind = of.attributes.get(name)
        labels.append(f"  {name}" + (f" -> {kind}" if kind else "") + (" if asked" if kind in of.on_request else ""))
        labels[-1] += LATER if name in of.later else ""
    width = max(_LABEL + 12, *map(len, labels))
    lines = [f"{title + ' table':<{width}}{'known of':>10}{'distinct':>10}  examples"]
    for label, (_, values) in zip(labels, table.items(), strict=True):
        if values.map(lambda value: isinstance(value, list)).any():
            known = values[values.map(lambda value: isinstance(value, list) and len(value) > 0)]
            flat = known.explode()
        else:
            known = flat = values[values.notna() & (values.astype(str) != "")]
        examples = flat.value_counts().index[:3]
        share = f"{len(known) / max(len(table), 1):.1%}"
        shown = ", ".join(f"{value:.10g}" if isinstance(value, float) else str(value) for value in examples)
        shown = " ".join(shown[: 2 * _WIDTH].split())  # texts may have lines
        line = f"{label:<{width}}{share:>10}{flat.nunique():>10,}  {shown}"
        lines.append(line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "...")
    if any(label.endswith(LATER) for label in labels):
        lines.append(f" {LATER}: gathered after the interactions; models that read it are told of the future")
    return lines


def _row(label: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{label if place == 0 else '':<{_LABEL - 1}} {line}" for place, line in enumerate(lines)]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
