"""Prepared data on disk: one folder for each (source files, options, recipe, code), checked whenever it is read.

A folder is built under a temporary name beside its place, synced, and renamed: what is visible is complete. Two
processes that build the same folder at once both succeed; the second takes what the first put there.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import re
import secrets
import shutil
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_lightning import __version__
from recsys_lightning.code import code_digest
from recsys_lightning.data.filters import Step
from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.base import Source
from recsys_lightning.schema import ITEM_ID, USER_ID

FORMAT = 1
MANIFEST = "manifest.json"
CHECKSUMS = "checksums.txt"
"""As the tool `b2sum -l 128` writes them."""
COLUMNS = ("user", "item", "split", "rating", "timestamp", "order", "domain")
_BUILDING = ".building-"
_BUILDING_NAME = re.compile(rf"{re.escape(_BUILDING)}(?P<host>.*)-(?P<pid>\d+)-\w+")
_STALE_SECONDS = 24 * 3600


class DamagedCacheError(Exception):
    """A cache folder is not what its manifest says."""


def cache_folder() -> Path:
    """Where caches lie: $RECSYS_CACHE, else `~/.cache/recsys_lightning`."""
    return Path(os.environ.get("RECSYS_CACHE") or Path.home() / ".cache" / "recsys_lightning")


def cached(cache: Path, source: Source, recipe: Recipe, build: Callable[[Source, Recipe], Prepared]) -> Prepared:
    """What `build` returns, out of the cache where it lies there undamaged.

    A damaged folder is rebuilt with a warning. Where the cache cannot be written, a warning says so and the data are
    returned all the same.
    """
    try:
        folder = cache / "-".join([re.sub(r"[^\w.]", "_", source.name), key(source, recipe)])
    except OSError:
        return build(source, recipe)  # the source says in its own words what is missing
    try:
        return load(folder)
    except OSError:
        pass  # not there; or not readable, and then storing will say so
    except DamagedCacheError as damage:
        warnings.warn(f"The cache {folder} is damaged and will be rebuilt: {damage}", stacklevel=3)
        _remove(folder)
    prepared = build(source, recipe)
    try:
        sweep(cache)
        store(prepared, folder, {"source": source.name, "options": source.options(), "recipe": recipe.to_dict()})
        return load(folder)  # memory-mapped: lets go of the columns in memory
    except (OSError, DamagedCacheError) as error:
        warnings.warn(
            f"The cache folder {cache} cannot be used ({error}); going on without it. "
            "Set RECSYS_CACHE to a folder that can be written.",
            stacklevel=3,
        )
        return prepared


def key(source: Source, recipe: Recipe) -> str:
    """16 hexadecimal digits that change with any raw file, option, recipe, or code that prepares the data.

    Raises:
        OSError: a raw file cannot be read.
    """
    facts = {
        "format": FORMAT,
        "version": __version__,
        "code": [code_digest("data"), _source_code(type(source))],
        "source": [source.name, source.item_type, source.attributes, source.on_request, source.later],
        "options": source.options(),
        "recipe": recipe.to_dict(),
        "files": [(path.name, file_digest(path)) for path in source.files()],
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def store(prepared: Prepared, folder: Path, origin: dict[str, Any]) -> None:
    """Write a cache folder; leave it alone where it exists by then.

    Raises:
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = _aside(folder)
    building.mkdir()
    try:
        _write(prepared, building, origin)
        for path in [*building.iterdir(), building]:
            _sync(path)
        if not folder.exists():
            os.rename(building, folder)
            _sync(folder.parent)
    except OSError:
        if not folder.exists():  # else another process was first, and what it wrote serves as well
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def load(folder: Path) -> Prepared:
    """Read a cache folder; the columns of interactions are memory-mapped.

    Raises:
        FileNotFoundError: there is no such folder.
        DamagedCacheError: a file is missing, truncated or changed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    _check(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    items, users = (_read_table(folder / f"{name}.parquet") for name in ("items", "users"))
    columns = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in folder.glob("*.npy")}
    interactions = Interactions(
        **columns,
        user_ids=pa.array(users[USER_ID], pa.string()),
        item_ids=pa.array(items[ITEM_ID], pa.string()),
        domains=tuple(manifest["domains"]),
    )
    return Prepared(
        name=manifest["name"],
        item_type=manifest["item_type"],
        attributes=manifest["attributes"],
        interactions=interactions,
        items=items,
        users=users,
        steps=tuple(Step(**step) for step in manifest["steps"]),
        split=manifest["split"],
        fingerprint=manifest["fingerprint"],
        on_request=tuple(manifest["on_request"]),
        positive=manifest["positive"],
        later=tuple(manifest["later"]),
    )


def sweep(cache: Path) -> None:
    """Remove what killed builders left: older than a day, or of a process of this machine that is no more."""
    for path in cache.glob(f"{_BUILDING}*"):
        name = _BUILDING_NAME.fullmatch(path.name)
        gone = name is not None and name["host"] == socket.gethostname() and not _alive(int(name["pid"]))
        try:
            old = time.time() - path.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:
            continue
        if gone or old:
            shutil.rmtree(path, ignore_errors=True)


def file_digest(path: Path) -> str:
    """blake2b of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _write(prepared: Prepared, folder: Path, origin: dict[str, Any]) -> None:
    rows = prepared.interactions
    for name in COLUMNS:
        if (column := getattr(rows, name)) is not None:
            np.save(folder / f"{name}.npy", column)
    for name, table in (("items", prepared.items), ("users", prepared.users)):
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / f"{name}.parquet")
    manifest = {
        "format": FORMAT,
        "version": __version__,
        **origin,
        "name": prepared.name,
        "item_type": prepared.item_type,
        "attributes": prepared.attributes,
        "on_request": prepared.on_request,
        "later": prepared.later,
        "split": prepared.split,
        "positive": prepared.positive,
        "fingerprint": prepared.fingerprint,
        "domains": rows.domains,
        "steps": [asdict(step) for step in prepared.steps],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str), encoding="utf-8")
    lines = [f"{file_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def _check(folder: Path) -> None:
    try:
        text = (folder / CHECKSUMS).read_text(encoding="utf-8")
        stored = {name: digest for digest, _, name in (line.partition("  ") for line in text.strip("\n").split("\n"))}
        found = {path.name: file_digest(path) for path in folder.iterdir() if path.name != CHECKSUMS}
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedCacheError(str(error)) from error
    if changed := [name for name in sorted({*stored, *found}) if stored.get(name) != found.get(name)]:
        raise DamagedCacheError(f"what {CHECKSUMS} says of {', '.join(changed)} is not so.")


def _read_table(path: Path) -> pd.DataFrame:
    """A table as it was written: lists come back as lists, not as arrays."""
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            frame[field.name] = [list(value) for value in frame[field.name]]
    return frame


def _remove(folder: Path) -> None:
    """Take a folder out of sight at once, then delete it."""
    aside = _aside(folder)
    try:
        os.rename(folder, aside)
    except OSError:
        return  # another process did, or the folder cannot be written: `store` will tell
    shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    """A new name beside a folder that says who works there."""
    return folder.with_name(f"{_BUILDING}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _source_code(source: type[Source]) -> str:
    """Digest of the file that defines a source, which may lie outside this package."""
    try:
        path = inspect.getsourcefile(source)
    except (TypeError, OSError):  # defined in an interactive session
        return ""
    return file_digest(Path(path)) if path and Path(path).is_file() else ""
