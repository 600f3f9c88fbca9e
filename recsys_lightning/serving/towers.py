"""Vectors of users and items that are not in the data, by their features: the exported towers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys_lightning.data.item_features.titles import statistics
from recsys_lightning.data.item_features.transform import transform
from recsys_lightning.errors import InputError, extra
from recsys_lightning.serving.format import Export, Floats, Ints


class _Plain(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class _Scale(_Plain):
    mean: float
    deviation: Annotated[float, Field(gt=0)]


class _Number(_Scale):
    column: str
    log: bool
    gaps: bool


class _Statistic(_Scale):
    name: Annotated[str, Field(pattern=f"^({'|'.join(statistics(''))})$")]


class _Title(_Plain):
    scales: list[_Statistic]
    gaps: bool


class _Kind(_Plain):
    codes: dict[str, Annotated[int, Field(ge=0)]]
    hashed: Annotated[int, Field(ge=0)]


class _Spec(_Plain):
    """What features are made by: whatever a record then holds, making them fails no more."""

    numbers: list[_Number]
    title: _Title | None
    categories: dict[str, _Kind]


class Towers:
    """Two networks over rows of features. A user's row is the mean of the rows of the user's items.

    An item's row holds its numbers, and for each kind of category the mean of the rows that its codes have in a table;
    zeros where it has none.

    Args:
        export: of a model that folds in.
    """

    def __init__(self, export: Export) -> None:
        held = export.manifest
        self.rows: Floats = export.array("rows.npy", np.float32, (held.items, None))
        self.tables: list[Floats] = [
            export.array(f"table_{kind}.npy", np.float32, (None, None)) for kind in range(held.tables)
        ]
        self.spec: dict[str, Any] | None = None if held.columns is None else _spec(export, self.tables)
        self.columns = held.columns
        self._user = _session(export, "user_tower.onnx")
        self._item = _session(export, "item_tower.onnx")
        try:
            nothing = self.rows[:1] if self.spec is None else self.profile(np.empty(0, np.int64), [{}])[None]
            shapes = {tower(nothing).shape for tower in (self.users, self.items)}
        except Exception as error:
            raise export.broken("features.json", "does not fit the towers and tables") from error
        if shapes != {(len(nothing), held.dim)}:
            raise export.broken("features.json", "does not fit the towers and tables")

    def profile(self, items: Ints, liked: Sequence[Mapping[str, Any]] = ()) -> Floats:
        """The row (F,) of a user who has these items, and others that are described."""
        rows = [self.rows[items], *(self.row(record)[None] for record in liked)]
        return _mean(np.concatenate(rows))

    def profiles_without(self, items: Ints) -> Floats:
        """Rows (n + 1, F) of a user: of all n items, then without each of them."""
        own = self.rows[items].astype(np.float64)
        total, count = own.sum(0), len(own)
        without = (total - own) / max(1, count - 1)
        return np.concatenate([(total / max(1, count))[None], without]).astype(np.float32)

    def row(self, record: Mapping[str, Any]) -> Floats:
        """The row (F,) of an item that is described by its columns.

        Raises:
            InputError: a column is none of those that features are made of.
        """
        assert self.spec is not None and self.columns is not None
        numbers, codes = transform(self.spec, record)
        parts = [np.asarray(numbers, np.float32)]
        parts += [_mean(table[kind]) for table, kind in zip(self.tables, codes, strict=True)]
        return np.concatenate(parts)

    def users(self, rows: Floats) -> Floats:
        """Vectors (B, D) of users by their rows (B, F)."""
        return _run(self._user, rows)

    def items(self, rows: Floats) -> Floats:
        """Vectors (B, D) of items by their rows (B, F)."""
        return _run(self._item, rows)


def _spec(export: Export, tables: Sequence[Floats]) -> dict[str, Any]:
    content: dict[str, Any] = export.json("features.json")
    try:
        kinds = list(_Spec.model_validate(content).categories.values())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise export.broken("features.json", f"does not say how features are made: {where}: {first['msg']}") from error
    for kind, table in zip(kinds, tables, strict=False):
        width = max([len(kind.codes), *(code + 1 for code in kind.codes.values())]) + kind.hashed
        if width > len(table):
            raise export.broken("features.json", "does not fit the towers and tables")
    return content


def _mean(rows: Floats) -> Floats:
    """(n, F) -> (F,); zeros of none."""
    mean: Floats = rows.mean(0, dtype=np.float32) if len(rows) else np.zeros(rows.shape[1], np.float32)
    return mean


def _run(session: Any, rows: Floats) -> Floats:
    vectors: Floats = session.run(None, {session.get_inputs()[0].name: rows})[0]
    if not np.isfinite(vectors).all():
        raise InputError("The metadata lead to no finite vector: their numbers are out of any range.")
    return vectors


def _session(export: Export, name: str) -> Any:
    """A network that is ready to run, on one thread: the server has several."""
    onnx, onnxruntime = (extra(library, "An export with towers", "serve") for library in ("onnx", "onnxruntime"))
    content = export.content(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        elsewhere = any(tensor.external_data for tensor in _tensors(onnx.load_model_from_string(content)))
        session = None if elsewhere else onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # both raise a dozen kinds of their own
        raise export.broken(name, "is no network that onnxruntime can run") from error
    if session is None:  # onnxruntime would read any file that a network names
        raise export.broken(name, "names other files")
    return session


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors of a network, however deep they lie."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(part)
