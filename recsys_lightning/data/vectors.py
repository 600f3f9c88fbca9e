"""Vectors of users and items in a file, with the ids, the schema and the fingerprint of the data they were made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recsys_lightning.atomic import replacing
from recsys_lightning.batches import Vectors
from recsys_lightning.data.reading.checks import require_file
from recsys_lightning.errors import InputError
from recsys_lightning.schema import SPLITS, TRAIN, Schema

if TYPE_CHECKING:
    from recsys_lightning.data.prepared import Prepared

FORMAT = 2
NAMES = ("user", "item")
IDS = tuple(f"{name}_ids" for name in NAMES)


@dataclass(frozen=True, eq=False)
class FrozenVectors:
    """Vectors that an earlier run left, in the order of the users and items of these data.

    Attributes:
        vectors: on the CPU, float32.
        digest: of the vectors.
        model: that made them.
        rows: splits whose rows it saw when it made them.
    """

    vectors: Vectors
    digest: str
    model: str
    rows: tuple[str, ...] = (TRAIN,)

    @property
    def width(self) -> int:
        """D."""
        return self.vectors.item.shape[-1]

    def tensors(self) -> Vectors:
        """The vectors, as views hold them."""
        return self.vectors


def write_vectors(
    file: Path,
    vectors: Vectors,
    prepared: Prepared,
    model: str,
    schema: Schema | None = None,
    rows: Sequence[str] = (TRAIN,),
) -> None:
    """Write vectors as safetensors, in one go: a reader never sees half a file.

    Tensors: `user` (U, D) or (U, M, D) and `item` (I, D) in float32; `user_ids` and `item_ids`, bytes of a JSON list of
    the raw ids of the rows, as the header of such a file is bounded. Metadata: `format`, `model`, `schema` (JSON) and
    `rows` (JSON list of splits).

    Args:
        file: to write; its folder is made.
        vectors: rows are the users and items of the data.
        prepared: the data.
        model: that made them.
        schema: of the data as the model saw them; that of the default graph where None.
        rows: splits whose rows the model saw when it made them.

    Raises:
        InputError: numbers are not finite, or the file cannot be written; one that was there before is intact then.
    """
    tensors = {name: part.detach().float().cpu().contiguous() for name, part in zip(NAMES, vectors, strict=True)}
    for name, ids in _ids(prepared).items():
        _require_finite(f"The vectors of {model} hold", name, tensors[name], ids)
        tensors[f"{name}_ids"] = torch.frombuffer(bytearray(json.dumps(ids).encode()), dtype=torch.uint8)
    whole = schema or prepared.schema()
    facts = {"schema": json.dumps(whole.to_dict()), "rows": json.dumps(list(rows))}
    _save(file, tensors, {"format": str(FORMAT), "model": model, **facts})


def _save(file: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write beside the place, and move there what is complete."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, durable=True) as temporary:
            save_file(tensors, temporary, facts)
    except (SafetensorError, OSError) as error:
        needed = sum(part.numel() * part.element_size() for part in tensors.values())
        free = f" and {shutil.disk_usage(file.parent).free:,} are free" if file.parent.is_dir() else ""
        raise InputError(
            f"{file} cannot be written ({error}): it needs about {needed:,} bytes{free}. What was there before is "
            "intact. Free some space, or choose another folder, then write it again."
        ) from error


def read_vectors(file: Path, prepared: Prepared) -> FrozenVectors:
    """Read a file of vectors that was made of the same data.

    Raises:
        InputError: it cannot be read, is of other data, names other users or items than these data have in a row, or
            holds numbers that are not finite.
    """
    tensors, facts = _load(file)
    schema = _schema(file, facts)
    _refuse_other_data(file, schema, prepared)
    domains = max(1, len(prepared.domains))
    user, item = tensors["user"], tensors["item"]
    if user.dim() not in (2, 3) or item.dim() != 2 or not item.shape[1] or user.shape[-1] != item.shape[1]:
        raise InputError(
            f"{file} holds vectors of users {_shape(user)} and of items {_shape(item)}; (users, width) or (users, "
            "domains, width), and (items, width) are needed. Write it again."
        )
    wanted = [prepared.num_users, *([domains] if user.dim() == 3 else []), item.shape[1]]
    if list(user.shape) != wanted or len(item) != prepared.num_items:
        raise InputError(
            f"{file} holds vectors of users {_shape(user)} and of items {_shape(item)}, and these data have "
            f"{prepared.num_users} users, {prepared.num_items} items and {domains} domain{'s' * (domains > 1)}. "
            "Write it again."
        )
    for name, ids in _ids(prepared).items():
        _refuse_other_ids(file, name, tensors[f"{name}_ids"], ids)
        _require_finite(f"{file} holds", name, tensors[name], ids)
    vectors = Vectors(user.float(), item.float())
    return FrozenVectors(vectors, _digest(vectors), facts["model"], _rows(file, facts))


def _ids(prepared: Prepared) -> dict[str, list[str]]:
    """Raw ids of users and items, in the order of their rows."""
    rows = prepared.interactions
    return {"user": rows.user_ids.to_pylist(), "item": rows.item_ids.to_pylist()}


def _load(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The vectors, the ids of their rows, and what the file says of them."""
    from safetensors import SafetensorError, safe_open

    require_file(file)
    try:
        with safe_open(file, framework="pt") as opened:
            facts = opened.metadata() or {}
            held = [name for name in (*NAMES, *IDS) if name in opened.keys()]  # noqa: SIM118
            tensors = {name: opened.get_tensor(name) for name in held}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{file} is no file of vectors, or is cut off ({error}). Give one that `recsys predict` with the callback "
            "WriteVectors wrote."
        ) from None
    if facts.get("format", str(FORMAT)) != str(FORMAT):
        raise InputError(
            f"{file} is of format {facts['format']}; this program reads format {FORMAT}. Write it again, or use the "
            "version of recsys_lightning that wrote it."
        )
    lacking = [name for name in ("format", "model", "schema", "rows") if name not in facts]
    lacking += [name for name in NAMES if name not in tensors or not tensors[name].is_floating_point()]
    lacking += [name for name in IDS if name not in tensors or tensors[name].dtype != torch.uint8]
    if lacking:
        raise InputError(
            f"{file} lacks {', '.join(lacking)}: it was not written by recsys_lightning. Give a file that `recsys "
            "predict` with the callback WriteVectors wrote."
        )
    return tensors, facts


def _schema(file: Path, facts: dict[str, str]) -> Schema:
    try:
        values: Any = json.loads(facts["schema"])
        return Schema.from_dict(values)
    except InputError:
        raise InputError(
            f"{file} was written by another version of recsys_lightning. Write it again with this one."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{file} holds a schema that cannot be read. Write it again.") from None


def _rows(file: Path, facts: dict[str, str]) -> tuple[str, ...]:
    try:
        found: Any = json.loads(facts["rows"])
    except ValueError:
        found = None
    if not isinstance(found, list) or not found or any(name not in SPLITS for name in found):
        raise InputError(f"{file} does not say of which rows it was made ({facts['rows']!r}). Write it again.")
    return tuple(found)


def _refuse_other_data(file: Path, saved: Schema, given: Prepared) -> None:
    if saved.fingerprint != given.fingerprint:
        raise InputError(
            f"{file} was made of other data.\n"
            f"  vectors:    {saved.name}, {saved.split}, {saved.num_users} users, {saved.num_items} items, "
            f"fingerprint {saved.fingerprint}\n"
            f"  given data: {given.name}, {given.split}, {given.num_users} users, {given.num_items} items, "
            f"fingerprint {given.fingerprint}\n"
            "Give the data options of the run that wrote it (they lie in the config.yaml of the model's run), or write "
            "it again."
        )
    if saved.domains != given.domains:
        raise InputError(
            f"{file} is of the domains {', '.join(saved.domains) or '(one)'}, in this order, and these data have "
            f"{', '.join(given.domains) or '(one)'}. Give the data options of the run that wrote it, or write it again."
        )


def _refuse_other_ids(file: Path, name: str, saved: Tensor, ids: list[str]) -> None:
    raw = saved.numpy().tobytes()
    if raw == json.dumps(ids).encode():
        return
    try:
        found: Any = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise InputError(f"{file} holds {name}_ids that cannot be read. Write it again.")
    for row, (theirs, ours) in enumerate(zip_longest(found, ids)):
        if theirs != ours:
            says = "nobody" if theirs is None else f"the {name} {theirs!r}"
            here = "there is no such row" if ours is None else f"it is {ours!r}"
            raise InputError(
                f"{file} says that row {row} is of {says}, and in these data {here}: its rows would be taken for those "
                f"of other {name}s. Write it again."
            )


def _require_finite(what: str, name: str, tensor: Tensor, ids: list[str]) -> None:
    bad = (~tensor.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    if len(bad):
        first = repr(ids[int(bad[0])])
        whose = f"the {name} {first}" if len(bad) == 1 else f"{len(bad):,} {name}s, first for {first}"
        raise InputError(
            f"{what} values that are no finite numbers for {whose}. Train the model again that made them, and see that "
            "its loss stays finite."
        )


def _digest(vectors: Vectors) -> str:
    """16 hexadecimal digits of shapes and numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for part in vectors:
        digest.update(f"{tuple(part.shape)};".encode())
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
