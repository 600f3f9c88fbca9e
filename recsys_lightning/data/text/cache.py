"""Vectors of texts on disk: one file for each (embedder, set of texts), so that nothing is encoded twice."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.data.cache import sweep
from recsys_lightning.data.text.embedder import TextEmbedder
from recsys_lightning.errors import InputError

FORMAT = 1
FOLDER = "text"
MAPPED_BYTES = 1 << 28
"""Larger files are memory-mapped: only the rows that are taken from them come into memory."""


def embedded(
    embedder: TextEmbedder, texts: Sequence[str], fit: Sequence[str], cache: Path | None
) -> NDArray[np.float32]:
    """(N, D) vectors of texts, zeros for empty ones; out of the cache where they lie there.

    Equal texts are embedded once, in the order of the alphabet, so that the order of items matters to no file. Without
    any text the result is (N, 0). Where the cache cannot be written, a warning says so.

    Args:
        embedder: makes the vectors.
        texts: N.
        fit: distinct texts of items of train, sorted.
        cache: folder of caches; None for none.

    Raises:
        InputError: the embedder cannot be had, or returns something else than finite vectors.
    """
    distinct = sorted({text for text in texts if text})
    if not distinct:
        return np.zeros((len(texts), 0), np.float32)
    table = _table(embedder, distinct, fit, cache)
    place = {text: row for row, text in enumerate(distinct)}
    known = np.array([bool(text) for text in texts])
    vectors = np.zeros((len(texts), table.shape[1]), np.float32)
    vectors[known] = table[[place[text] for text in texts if text]]
    return vectors


def file_of(embedder: TextEmbedder, distinct: Sequence[str], fit: Sequence[str], cache: Path) -> Path:
    """Where the vectors of distinct, sorted texts lie."""
    digest = hashlib.blake2b(f"{FORMAT} {embedder.key};".encode(), digest_size=8)
    for part in (distinct, fit if embedder.fits else ()):
        digest.update(f"{len(part)}:".encode())
        for text in part:
            word = text.encode(errors="surrogatepass")
            digest.update(f"{len(word)}:".encode() + word)
    return cache / FOLDER / f"{type(embedder).__name__}-{digest.hexdigest()}.npy"


def _table(embedder: TextEmbedder, distinct: list[str], fit: Sequence[str], cache: Path | None) -> NDArray[np.float32]:
    """(distinct texts, D), perhaps memory that may only be read."""
    if cache is None:
        return _embed(embedder, distinct, fit)
    file = file_of(embedder, distinct, fit, cache)
    if (stored := _load(file, len(distinct))) is not None:
        return stored
    vectors = _embed(embedder, distinct, fit)
    try:
        _store(file, vectors)
    except OSError as error:
        warnings.warn(
            f"The cache folder {cache} cannot be used ({error}); going on without it. "
            "Set RECSYS_CACHE to a folder that can be written.",
            stacklevel=5,
        )
        return vectors
    stored = _load(file, len(distinct))  # lets go of the vectors in memory where it is memory-mapped
    return vectors if stored is None else stored


def _embed(embedder: TextEmbedder, distinct: list[str], fit: Sequence[str]) -> NDArray[np.float32]:
    vectors = embedder.embed(distinct, fit)
    name = type(embedder).__name__
    if vectors.ndim != 2 or len(vectors) != len(distinct) or not vectors.shape[1]:
        raise InputError(
            f"{name} made vectors of shape {vectors.shape} out of {len(distinct):,} texts; it must be "
            f"({len(distinct)}, width)."
        )
    if len(bad := np.flatnonzero(~np.isfinite(vectors).all(1))):
        raise InputError(
            f"{name} made {len(bad):,} vectors that hold NaN or infinite values, first of the text "
            f"{distinct[bad[0]][:60]!r}. Choose another embedder."
        )
    return vectors.astype(np.float32, copy=False)


def _load(file: Path, rows: int) -> NDArray[np.float32] | None:
    """What lies in a file; None where it is missing, cut off, or something else."""
    try:
        large = file.stat().st_size > MAPPED_BYTES
        vectors = np.load(file, mmap_mode="r" if large else None, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = isinstance(vectors, np.ndarray) and vectors.ndim == 2 and len(vectors) == rows
    return vectors if whole and vectors.dtype == np.float32 else None


def _store(file: Path, vectors: NDArray[np.float32]) -> None:
    """Write beside the place, then rename: what is visible is complete, whoever writes at once.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    sweep(file.parent)
    with tempfile.TemporaryDirectory(
        prefix=f".building-{socket.gethostname()}-{os.getpid()}-", dir=file.parent
    ) as folder:
        building = Path(folder, file.name)
        with building.open("wb") as opened:
            np.save(opened, vectors)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(building, file)
