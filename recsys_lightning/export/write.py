"""Writes an export: all of it or nothing, and checked against the model before anybody sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lightning import __version__
from recsys_lightning.batches import CSR
from recsys_lightning.data.loaders import RankingLoader
from recsys_lightning.data.rows import offsets
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.explain.advisor import Advisor
from recsys_lightning.export.parts import FoldsIn, onnx_tower, scorer_of, vectors, write_sums
from recsys_lightning.metrics.ranking import tie_priority
from recsys_lightning.models.closed_form import Linear
from recsys_lightning.models.sparse import take
from recsys_lightning.serving.engine import Engine
from recsys_lightning.serving.format import FORMAT, MANIFEST, Columns, File, Manifest, digest
from recsys_lightning.serving.scorers import Person, Vectors

SAMPLE = 64
"""Users whose scores by the export are compared with the model's."""


def write_export(advisor: Advisor, data: InteractionsDataModule, folder: Path, overwrite: bool = False) -> Manifest:
    """Write a model with all that is needed to serve it.

    Args:
        advisor: the model, trained or fitted.
        data: what it was trained on, set up for `predict`.
        folder: is made.
        overwrite: whether an export that lies there is replaced.

    Returns:
        what was written.

    Raises:
        InputError: there is something in the folder, or the model cannot be exported.
    """
    folder = folder.absolute()
    _sweep(folder)
    _refuse_taken(folder, overwrite)
    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with torch.no_grad():
            manifest = _write(advisor, data, temporary)
            _compare(advisor, data, temporary)
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _sweep(folder: Path) -> None:
    """Clear away what killed exports to a folder left beside it; one that was killed while it replaced is undone."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.tmp-(\d{{1,9}})(-old)?")
    beside = [path for path in folder.parent.glob(".*.tmp-*") if path.is_dir() and not path.is_symlink()]
    matches = [(path, match) for path in beside if (match := name.fullmatch(path.name)) and not _runs(int(match[1]))]
    for old in [path for path, match in matches if match[2]]:
        if not folder.is_symlink() and not (folder.is_dir() and any(folder.iterdir())) and not folder.is_file():
            os.rename(old, folder)
        elif (folder / MANIFEST).is_file():
            shutil.rmtree(old, ignore_errors=True)
    for temporary in [path for path, match in matches if not match[2]]:
        shutil.rmtree(temporary, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether another process has this number; in a container, the next one often has that of the last."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _refuse_taken(folder: Path, overwrite: bool) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is no folder. Choose another: --to FOLDER.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{folder} is not empty. Choose another folder, or replace the export there: --overwrite.")
    if others := {path.name for path in folder.iterdir()} - _written(folder / MANIFEST):
        raise InputError(
            f"{folder} holds {min(others)}, which is of no export, so --overwrite does not delete what is in it. "
            "Choose another folder."
        )


def _written(manifest: Path) -> set[str]:
    """Names of the files of an export, of whatever version; none where this is no manifest of one."""
    if not manifest.is_file():
        return set()
    try:
        held = json.loads(manifest.read_bytes())
        return {MANIFEST, *held["files"]} if held["format"] and held["fingerprint"] else set()
    except (ValueError, RecursionError, KeyError, TypeError):
        return set()


def _replace(temporary: Path, folder: Path) -> None:
    """Put the new folder in the place of the old one, which stays where that fails."""
    old = temporary.with_name(f"{temporary.name}-old")
    replaces = folder.is_dir() and any(folder.iterdir())
    if replaces:
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        if replaces:
            os.rename(old, folder)
        raise
    with suppress(OSError):
        shutil.rmtree(old)


def _write(advisor: Advisor, data: InteractionsDataModule, folder: Path) -> Manifest:
    model, state, schema, names = advisor.model, advisor.state, data.schema, advisor.catalogue
    scorer = scorer_of(model, state)
    loader = _loader(data)
    users = loader.user
    _save(folder, "priority", tie_priority(schema.num_items).numpy().astype(np.int32))
    _save_rows(folder, "seen", take(loader.seen, users))
    _save_rows(folder, "own", take(advisor.views.train, users))
    _dump(folder, "users.json", {"ids": [names.users[user] for user in users.tolist()]})
    _dump(folder, "items.json", {"ids": list(names.items), "titles": list(map(str, names.titles))})
    _write_values(data, folder)
    dim = schema.num_items
    if isinstance(model, Linear):
        scorer = write_sums(model, folder, users.device)
    else:
        for name, array in vectors(model, state, users).items():
            dim = array.shape[1]
            _save(folder, name, array)
    columns, tables = None, 0
    folds_in = isinstance(model, Linear)
    if isinstance(model, FoldsIn) and model.folds_in:
        columns, tables = _write_towers(model, advisor, data, folder)
        folds_in = True
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        model=type(model).__name__,
        scorer=scorer,
        data=schema.name,
        split=schema.split,
        fingerprint=schema.fingerprint,
        item_type=schema.item_type,
        users=len(users),
        items=schema.num_items,
        dim=dim,
        folds_in=folds_in,
        columns=columns,
        tables=tables,
        files={path.name: File(bytes=path.stat().st_size, sha256=digest(path)) for path in sorted(folder.iterdir())},
    )
    _dump(folder, MANIFEST, manifest.model_dump(), indent=1)
    return manifest


def _write_towers(
    model: FoldsIn, advisor: Advisor, data: InteractionsDataModule, folder: Path
) -> tuple[Columns | None, int]:
    rows = model.item_rows(advisor.views.features).float().cpu().numpy()
    _save(folder, "rows", rows)
    tables = model.category_tables()
    for kind, table in enumerate(tables):
        _save(folder, f"table_{kind}", table.float().cpu().numpy())
    where = advisor.views.device
    cast(torch.nn.Module, model).cpu()
    for side in ("user", "item"):
        (folder / f"{side}_tower.onnx").write_bytes(onnx_tower(model, side, rows.shape[1]))
    cast(torch.nn.Module, model).to(where)
    recipe, features = data.features, data.item_features
    assert recipe is not None and features is not None
    _dump(folder, "features.json", features.spec)
    numbers = [*recipe.numbers, *recipe.logs]
    return Columns(title=recipe.title, numbers=numbers, categories=list(recipe.categories)), len(tables)


def _write_values(data: InteractionsDataModule, folder: Path) -> None:
    """Categories of the items, as the graph would have them, under the names of their columns as in metadata."""
    prepared = data.prepared
    column = {kind: name for name, kind in prepared.attributes.items()}
    words: list[list[str]] = []
    pairs = [np.empty((2, 0), np.int64)]
    for kind, attribute in prepared.item_attributes.items():
        if kind not in prepared.on_request:
            pairs.append(np.stack([attribute.item, attribute.value + len(words)]))
            words += [[column.get(kind, kind), value] for value in attribute.values]
    item, value = np.concatenate(pairs, 1)
    order = np.lexsort((value, item))
    crow = offsets(np.bincount(item, minlength=prepared.num_items))
    _save(folder, "values_crow", crow.astype(np.int64))
    _save(folder, "values_col", value[order].astype(np.int32))
    _dump(folder, "values.json", words)


def _loader(data: InteractionsDataModule) -> RankingLoader:
    """Every user with a visible row.

    Raises:
        InputError: the data have several domains.
    """
    loader = data.predict_dataloader()
    if not isinstance(loader, RankingLoader):
        raise InputError(
            f"What is served ranks all items together, and these data have {len(data.schema.domains)} domains that are "
            f"ranked apart. Export one of them: --data.recipe.only {data.schema.domains[0]}."
        )
    return loader


def _compare(advisor: Advisor, data: InteractionsDataModule, folder: Path) -> None:
    """Read what was written as the server does, and score some users both ways.

    Raises:
        InputError: the scores differ.
    """
    engine, model, state = Engine(folder), advisor.model, advisor.state
    users = _loader(data).user
    chosen = torch.linspace(0, len(users) - 1, min(SAMPLE, len(users)), device=users.device).long()
    own = take(advisor.views.train, users[chosen])
    expected = model.score_all(model.users(state, users[chosen]), state).float().cpu().numpy()
    people = [Person(user, engine.own.row(user)) for user in chosen.tolist()]
    found = {"of users of the data": (engine.scorer.scores(people), expected)}
    if isinstance(engine.scorer, Vectors) and engine.scorer.towers is not None:
        new = model.score_all(model.users_of(state, own), state).float().cpu().numpy()
        found["of new users"] = (engine.scorer.scores([person._replace(user=None) for person in people]), new)
    for whose, (ours, theirs) in found.items():
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(np.abs(theirs).max(initial=0))):
            raise InputError(
                f"Scores {whose} by the export differ from those of {type(model).__name__} by up to "
                f"{np.abs(ours - theirs).max():.2g}: it is not exported."
            )


def _save(folder: Path, name: str, array: NDArray[Any]) -> None:
    np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def _save_rows(folder: Path, name: str, rows: CSR) -> None:
    _save(folder, f"{name}_crow", rows.crow.cpu().numpy().astype(np.int64))
    _save(folder, f"{name}_col", rows.col.cpu().numpy().astype(np.int32))


def _dump(folder: Path, name: str, value: Any, indent: int | None = None) -> None:
    (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=indent), encoding="utf-8")
