"""Files of ready vectors of what is written about items."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lightning.data.reading.checks import require_file
from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.data.vector_file import read_vectors, require_distinct
from recsys_lightning.errors import InputError

KEYS = ("movie_ids", "overview_embs", "review_embs", "review_mask")
LEAST_HITS = 0.5
"""A file with vectors of a smaller share of the items of train is taken for that of other data."""


def read_ready(file: Path, item_ids: pa.StringArray, known: NDArray[np.bool_], max_reviews: int) -> ItemText:
    """Vectors out of a file, as they are; a vector of zeros means that there is no such text.

    Args:
        file: Parquet (item_id, vector), or what torch.save wrote: movie_ids (M,), overview_embs (M, D), review_embs
            (M, R, D), review_mask (M, R), which is True or 1 for the reviews that there are. Items that are not in
            the data do not matter.
        item_ids: raw ids of the items.
        known: (I,) items of train.
        max_reviews: the first so many reviews of an item are kept.

    Raises:
        InputError: the file cannot be read, wants to run code, contradicts itself, or belongs to other data.
    """
    require_file(file)
    if file.suffix.lower() == ".parquet":
        ids, matrix = read_vectors(file)
        row = _rows(file, ids, item_ids, known)
        overview = np.where((row >= 0)[:, None], matrix[row], 0.0).astype(np.float32)
        return ItemText.of(overview, np.empty((0, matrix.shape[1]), np.float32), np.empty(0, np.int64))
    content = _load(file)
    ids = _ids(file, content["movie_ids"])
    _require_shapes(file, content, len(ids))
    mask = _mask(file, content)
    row = _rows(file, ids, item_ids, known)
    found = np.flatnonzero(row >= 0)
    overview = np.zeros((len(row), content["overview_embs"].shape[1]), np.float32)
    overview[found] = _finite(file, "overview_embs", content["overview_embs"][row[found]], ids[row[found]])
    item, place = np.nonzero(mask.numpy()[row[found]])
    rank = np.cumsum(mask.numpy(), axis=1)[row[found]][item, place]
    item, place = item[rank <= max_reviews], place[rank <= max_reviews]
    source = row[found][item]
    review = _finite(file, "review_embs", content["review_embs"][source, place], ids[source])
    return ItemText.of(overview, review, found[item])


def _load(file: Path) -> dict[str, Any]:
    """The tensors of a file; those of a new one are memory-mapped, as few of its rows may be needed."""
    packed = zipfile.is_zipfile(file)
    try:
        with warnings.catch_warnings():
            # of newer pickles torch says to file an issue with it, whatever they hold
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=packed)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):
            if not packed and not _is_pickle(file):
                raise InputError(f"{file} is no file of torch.save. Write it again.") from None
            raise InputError(
                f"{file} holds more than tensors and may want to run code: it was refused. Save it again with "
                "torch.save, as a dictionary of tensors and lists and with its usual pickle_protocol, or do not trust "
                "it."
            ) from None
        raise InputError(
            f"{file} wants to run code when it is read, and was refused: it must hold nothing but a dictionary of "
            "tensors and lists (arrays of NumPy are made by code too). Save it again as such, or do not trust it."
        ) from None
    except Exception as error:  # torch raises whatever its parts raise on a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{file} is no file of torch.save, or is cut off ({reason}). Write it again.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds a {type(content).__name__}; it must hold a dictionary of {', '.join(KEYS)}.")
    if missing := [key for key in KEYS if key not in content]:
        raise InputError(
            f"{file} lacks {', '.join(missing)}; it has {', '.join(map(str, content)) or 'nothing'}, and needs "
            f"{', '.join(KEYS)}."
        )
    return content


def _is_pickle(file: Path) -> bool:
    """Whether a file begins as pickles do since their protocol 2."""
    with file.open("rb") as content:
        return content.read(1) == pickle.PROTO


def _ids(file: Path, ids: Any) -> pd.Index:
    """(M,) ids as strings."""
    if isinstance(ids, Tensor) and ids.ndim == 1 and not (ids.is_floating_point() or ids.is_complex()):
        ids = ids.tolist()
    if not isinstance(ids, (list, tuple)) or not all(type(one) in (int, str) for one in ids):
        raise InputError(f"{file}: movie_ids must be a list of whole numbers or of texts, or a row of whole numbers.")
    if not ids:
        raise InputError(f"{file} has no movie_ids. Write a row for each item that has vectors.")
    found = pd.Index([str(one) for one in ids], dtype=object)
    require_distinct(file, found)
    return found


def _require_shapes(file: Path, content: dict[str, Any], size: int) -> None:
    """Check that all arrays are of `size` items, and all vectors equally wide."""
    wanted = {"overview_embs": ("M", "D"), "review_embs": ("M", "R", "D"), "review_mask": ("M", "R")}
    sizes = {"M": size}
    for key, axes in wanted.items():
        value = content[key]
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            raise InputError(f"{file}: {key} is a {type(value).__name__}; it must be a dense tensor.")
        if key != "review_mask" and not value.is_floating_point():
            raise InputError(f"{file}: {key} holds {value.dtype}; vectors must be floating-point numbers.")
        shape = tuple(value.shape)
        fits = len(shape) == len(axes) and all(
            sizes.setdefault(axis, length) == length for axis, length in zip(axes, shape, strict=True)
        )
        if not fits:
            expected = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
            raise InputError(f"{file}: {key} has shape {shape}; with {size} movie_ids it must be ({expected}).")
    if not sizes["D"]:
        raise InputError(f"{file}: vectors are 0 wide. Write it again.")


def _mask(file: Path, content: dict[str, Any]) -> Tensor:
    """(M, R) reviews that there are."""
    given = content["review_mask"]
    mask: Tensor = given != 0
    if not (mask == given).all():  # also of NaN
        raise InputError(f"{file}: review_mask must hold True or 1 for reviews that there are, else False or 0.")
    written = torch.any(content["review_embs"], dim=-1)
    if written.any() and not (written & mask).any():
        raise InputError(
            f"{file}: review_mask marks only vectors of zeros, and none of the {int(written.sum()):,} others: it seems "
            "to be the other way round. True or 1 must mean that there is a review."
        )
    return mask


def _rows(file: Path, ids: pd.Index, item_ids: pa.StringArray, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(I,) row of the file for each item, -1 for none."""
    row: NDArray[np.int64] = ids.get_indexer(item_ids.to_pandas()).astype(np.int64)
    hit = row >= 0
    if hit[known].sum() < LEAST_HITS * known.sum():
        raise InputError(
            f"{file} has vectors of {hit[known].sum():,} of {known.sum():,} items of train ({hit.sum():,} of "
            f"{len(hit):,} of all), less than {LEAST_HITS:.0%}: it seems to belong to other data. Its ids look like "
            f"{ids[0]!r}, those of the data like {item_ids[0].as_py()!r}."
        )
    return row


def _finite(file: Path, key: str, vectors: Tensor, ids: pd.Index) -> NDArray[np.float32]:
    """(N, D) vectors in single precision; `ids` (N,) say whose they are."""
    narrow: NDArray[np.float32] = vectors.float().numpy()
    if len(bad := np.flatnonzero(~np.isfinite(narrow).all(1))):
        raise InputError(
            f"{file}: {len(bad):,} vectors of {key} hold NaN or infinite values, first that of item {ids[bad[0]]}. "
            "Leave these out, or embed their texts again."
        )
    return narrow
