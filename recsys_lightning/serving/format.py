"""What an export consists of: a folder of plain files, and a manifest that says what each of them is and its digest.

    manifest.json                        what follows, in numbers and words
    users.json, items.json               ids; titles of items
    priority.npy                         (I,) of items with equal scores, the one with the smaller entry goes first
    seen_crow.npy, seen_col.npy          items that each user has, which are not recommended
    own_crow.npy, own_col.npy            items that each user is known by, for reasons and sums
    values.json, values_crow/_col.npy    categories of items (genres, authors), for reasons
    users.npy, items.npy                 `vectors`: score = users @ items.T, float32
    weight.npy                           `dense`: score = sum of the rows of the user's own items, float32
    weight_crow/_col/_value.npy          `sparse`: likewise
    features.json, rows.npy, table_N.npy, user_tower.onnx, item_tower.onnx
                                         for models that fold in: see `serving.towers`

Nothing in an export is code, names an import, or is pickled. Whoever reads one trusts nothing of it before it is
checked: names of files, sizes, digests, types, shapes, ranges.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys_lightning.errors import InputError

FORMAT = 1
"""Version of this layout; another one is refused."""

MANIFEST = "manifest.json"
FILE = re.compile(r"[a-z][a-z0-9_]{0,40}\.(npy|json|onnx)")
"""Names that files may have: none leads out of the folder."""

MOST_MANIFEST = 1 << 20
"""Bytes that are read of a manifest."""

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float32]
Scorer = Literal["vectors", "dense", "sparse"]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class Rows(NamedTuple):
    """Rows of indices: row r holds `col[crow[r]:crow[r + 1]]`."""

    crow: Ints  # (rows + 1,)
    col: Ints  # (entries,)

    def row(self, index: int) -> Ints:
        """Entries of one row."""
        return self.col[self.crow[index] : self.crow[index + 1]]


class _Plain(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class File(_Plain):
    """One file of an export."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Columns(_Plain):
    """Columns of items that features are made of."""

    title: bool
    numbers: list[str]
    categories: list[str]


class Manifest(_Plain):
    """What an export holds.

    Attributes:
        format: version of the layout.
        version: of recsys_lightning that wrote it.
        model: name of the class, for people.
        scorer: how scores are made.
        data: name of the data set.
        split: how it was split, in words.
        fingerprint: digest of its interactions.
        item_type: what the items are, e.g. `movie`.
        users: U, users who can be recommended to.
        items: I.
        dim: D; of sums, I.
        folds_in: whether histories of new users can be asked for.
        columns: of the metadata of new items; None where they cannot be asked for.
        tables: number of tables of categories.
        files: all files but this one.
    """

    format: int
    version: str
    model: str
    scorer: Scorer
    data: str
    split: str
    fingerprint: str
    item_type: str
    users: Count
    items: Count
    dim: Count
    folds_in: bool
    columns: Columns | None
    tables: Annotated[int, Field(ge=0, le=100)]
    files: dict[str, File]


class Export:
    """A folder whose manifest and files are as they were written.

    Args:
        folder: of an export.

    Raises:
        InputError: there is no export, or it is of another version, incomplete or changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _manifest(folder)
        for name, file in self.manifest.files.items():
            _check(folder, name, file)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self.manifest.files

    def content(self, name: str) -> bytes:
        """What a file holds, checked once more as it is read.

        Raises:
            InputError: it is missing, or has been changed meanwhile.
        """
        content = self._path(name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name].sha256:
            raise _changed(self.folder, name)
        return content

    def json(self, name: str) -> Any:
        """What a JSON file holds.

        Raises:
            InputError: it is missing or no JSON.
        """
        try:
            return json.loads(self.content(name))
        except (ValueError, RecursionError) as error:
            raise self.broken(name, "is no JSON") from error

    def strings(self, name: str, key: str, size: int) -> list[str]:
        """A list of so many strings, under a key of a JSON file.

        Raises:
            InputError: it holds something else.
        """
        content = self.json(name)
        values = content.get(key) if isinstance(content, dict) else None
        if not isinstance(values, list) or len(values) != size or not all(isinstance(value, str) for value in values):
            raise self.broken(name, f"does not hold {size:,} {key}")
        return values

    def array(self, name: str, kind: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
        """An array that stays on the disk until it is read.

        Args:
            name: of the file.
            kind: type of its numbers.
            shape: its sizes; None where any will do.

        Raises:
            InputError: it is missing, of another type or shape, or not finite.
        """
        path = self._path(name)
        try:
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, TypeError, OverflowError, EOFError, SyntaxError, TokenError) as error:
            raise self.broken(name, "is no array of numbers") from error
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype != np.dtype(kind) or not fits or not array.flags.c_contiguous:
            raise self.broken(name, f"is {array.dtype} of shape {array.shape}, not {np.dtype(kind)} of {shape}")
        if array.dtype.kind == "f" and not all(np.isfinite(block).all() for block in _blocks(array)):
            raise self.broken(name, "holds numbers that are not finite")
        return array

    def rows(self, name: str, size: int, columns: int) -> Rows:
        """Rows of indices below `columns`.

        Raises:
            InputError: they are missing, or point elsewhere.
        """
        crow = self.array(f"{name}_crow.npy", np.int64, (size + 1,))
        col = self.array(f"{name}_col.npy", np.int32, (None,))
        if crow[0] != 0 or crow[-1] != len(col) or (np.diff(crow) < 0).any():
            raise self.broken(f"{name}_crow.npy", "does not say where rows begin")
        if len(col) and not 0 <= col.min() <= col.max() < columns:
            raise self.broken(f"{name}_col.npy", f"holds indices that are not below {columns:,}")
        return Rows(crow, col)

    def broken(self, name: str, what: str) -> InputError:
        """The error for a file that holds what it must not hold."""
        return InputError(f"{self.folder}: {name} {what}. The export was not written by `recsys export`: make it anew.")

    def _path(self, name: str) -> Path:
        if not self.has(name):
            raise self.broken(MANIFEST, f"names no {name}, which a model of this kind needs")
        return self.folder / name


def digest(path: Path) -> str:
    """Sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Make one: recsys export RUN --to {folder}.")
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{folder} is no export: it has no {MANIFEST}. Make one: recsys export RUN --to FOLDER.")
    if not _plain(path) or path.stat().st_size > MOST_MANIFEST:
        raise InputError(f"{path} is a link, no file, or larger than 1 MiB, so it is not read.")
    try:
        values = json.loads(path.read_bytes())
        version = values["format"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no manifest of an export. Make one: recsys export RUN --to FOLDER.") from error
    if version != FORMAT:
        raise InputError(
            f"{folder} was exported in format {version!r}, and this program reads format {FORMAT}. Export again, or "
            "use the version of recsys_lightning that wrote it."
        )
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is not as it was written: {where}: {first['msg']}. Export again.") from error
    if strange := [name for name in manifest.files if not FILE.fullmatch(name)]:
        raise InputError(f"{path} names {strange[0]!r}, which is no file of an export. Nothing of it is read.")
    return manifest


def _check(folder: Path, name: str, file: File) -> None:
    path = folder / name
    if not os.path.lexists(path):
        raise InputError(f"{folder} is incomplete: {name} is missing. Copy the whole folder, or export again.")
    if not _plain(path):
        raise InputError(f"{path} is a link or no file, so it is not read. Copy the export's files themselves.")
    size = path.stat().st_size
    if size != file.bytes:
        raise InputError(
            f"{path} holds {size:,} bytes, and was written with {file.bytes:,}. Copy the export again, or make it anew."
        )
    if digest(path) != file.sha256:
        raise _changed(folder, name)


def _changed(folder: Path, name: str) -> InputError:
    return InputError(
        f"{folder / name} has changed since it was exported: its SHA-256 is another one. Copy the export again, or "
        "make it anew."
    )


def _plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _blocks(array: NDArray[Any], size: int = 1 << 20) -> list[NDArray[Any]]:
    """An array in pieces of so many numbers."""
    flat = array.reshape(-1)
    return [flat[first : first + size] for first in range(0, len(flat), size)]
