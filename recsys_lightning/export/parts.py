"""What is written of a model: vectors, sums, or why neither can be; and the towers of one that folds in."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys_lightning.batches import Features
from recsys_lightning.errors import InputError, extra
from recsys_lightning.models.base import Recommender, State
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.sparse import blocks
from recsys_lightning.serving.format import Scorer

BLOCK = 256
"""Users or items that are worked on at a time."""

MOST_BYTES = 4 << 30
"""Of an item-item matrix: 32,768 items."""

FULL = 0.25
"""Share of entries from which on a matrix takes no more room as a dense one, or only a little."""


@runtime_checkable
class FoldsIn(Protocol):
    """A model whose vectors of new users and items are networks over rows of features."""

    folds_in: bool

    def item_rows(self, features: Features) -> Tensor:
        """Rows of items: (I, F)."""

    def category_tables(self) -> list[Tensor]:
        """For each kind of categories (codes, width): a row is [numbers; mean of an item's codes of each table]."""

    def user_from_row(self, row: Tensor) -> Tensor:
        """Users by the mean of the rows of their own items: (B, F) -> (B, D)."""

    def item_from_row(self, row: Tensor) -> Tensor:
        """Items by their rows: (B, F) -> (B, D)."""


def scorer_of(model: Recommender, state: State) -> Scorer:
    """How an export scores as the model does; of sums, `dense`, for the time being.

    Raises:
        InputError: scores are neither inner products of vectors nor sums over the user's own items.
    """
    if isinstance(model, Linear):
        return "dense"
    items = model.items(state)
    users = model.users(state, torch.arange(min(BLOCK, model.num_users), device=items.device))
    if users.dim() == items.dim() == 2 and users.shape[1] == items.shape[1]:
        scores, products = model.score_all(users, state), users @ items.T
        if torch.allclose(scores, products, rtol=1e-4, atol=1e-5 * float(scores.abs().max())):
            return "vectors"
    raise InputError(
        f"{type(model).__name__}, as it is configured, does not score by the inner product of a user's and an item's "
        "vector, and an export holds nothing else. Models that can be exported: MF, LightGCN, GAT, TwoTower and others "
        "with inner products, and the sums of ItemKNN, EASE, GFCF and ContentKNN. `recsys recommend` asks any model."
    )


def vectors(model: Recommender, state: State, users: Tensor) -> dict[str, NDArray[np.float32]]:
    """Vectors of the named users (n,) and of all items.

    Raises:
        InputError: one is not finite.
    """
    found = {
        "users": torch.cat([model.users(state, part) for part in torch.split(users, BLOCK)]),
        "items": model.items(state),
    }
    arrays = {name: np.ascontiguousarray(value.float().cpu().numpy()) for name, value in found.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"Vectors of {name} are NaN or infinite: the model has diverged, and is not exported.")
    return arrays


def write_sums(model: Linear, folder: Path, where: torch.device) -> Scorer:
    """Write the item-item matrix: sparse, or dense where that takes less room.

    Raises:
        InputError: it would be too large.
    """
    size = model.num_items
    rows: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]] = []
    entries = 0
    for item in blocks(size, BLOCK, where):
        share = model.shares(item)
        place = share.nonzero()
        entries += len(place)
        if entries > FULL * size * size:
            return _write_dense(model, folder, where)
        degree = torch.bincount(place[:, 0], minlength=len(item))
        value = share[place[:, 0], place[:, 1]].float()
        rows.append((degree.cpu().numpy(), place[:, 1].int().cpu().numpy(), value.cpu().numpy()))
    degrees, columns, values = (np.concatenate(part) for part in zip(*rows, strict=True))
    np.save(folder / "weight_crow.npy", np.concatenate([[0], degrees.cumsum()]).astype(np.int64))
    np.save(folder / "weight_col.npy", columns)
    np.save(folder / "weight_value.npy", values)
    return "sparse"


def _write_dense(model: Linear, folder: Path, where: torch.device) -> Scorer:
    size = model.num_items
    if 4 * size * size > MOST_BYTES:
        raise InputError(
            f"The matrix of {type(model).__name__} on {size:,} items takes {4e-9 * size * size:.1f} GB, and an export "
            f"holds up to {MOST_BYTES / 1e9:.1f} GB of it. Take fewer items (item_core or limit_items of the data), or "
            "ItemKNN, whose matrix is sparse."
        )
    matrix = np.lib.format.open_memmap(folder / "weight.npy", mode="w+", dtype=np.float32, shape=(size, size))
    for item in blocks(size, BLOCK, where):
        matrix[int(item[0]) : int(item[-1]) + 1] = model.shares(item).float().cpu().numpy()
    matrix.flush()
    return "dense"


class _Tower(nn.Module):
    def __init__(self, model: FoldsIn, side: str) -> None:
        super().__init__()
        self.model = model
        self.side = side

    def forward(self, row: Tensor) -> Tensor:
        vectors: Tensor = getattr(self.model, f"{self.side}_from_row")(row)
        return vectors


def onnx_tower(model: FoldsIn, side: str, width: int) -> bytes:
    """The tower of `user` or `item` as ONNX: rows (B, width) -> vectors (B, D), for any B.

    Raises:
        InputError: onnx or onnxscript cannot be imported.
    """
    for library in ("onnx", "onnxscript"):
        extra(library, "`recsys export` of towers", "serve")
    tower = _Tower(model, side).eval()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    said: Any = io.StringIO()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tower,
                (torch.zeros(3, width),),
                dynamo=True,
                verbose=False,
                input_names=["row"],
                output_names=["vector"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        assert program is not None
        content: bytes = program.model_proto.SerializeToString()
        return content
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
