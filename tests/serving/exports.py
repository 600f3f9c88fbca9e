"""Small exports without a model: seeded, in groups of items that belong together, in the layout of serving.format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.serving.format import FORMAT, MANIFEST, Columns, File, Manifest, Scorer, digest

GENRES = ("Drama", "Comedy", "War", "Science Fiction")
DIM = 8
NASTY = "<script>alert('ran')</script><img src=x onerror=alert(1)> & \"quotes\" \u202e"
TITLES = ["Dune", "The Hobbit", "Beloved", "The Left Hand of Darkness", NASTY, "Žižek: l'Été", ""]
"""Of the first items; others are named after their number."""


def write_export(
    folder: Path, scorer: Scorer = "vectors", folds_in: bool = True, items: int = 60, users: int = 20, seed: int = 0
) -> Path:
    """An export whose users like one genre each and have every second item of it.

    Ids of users are `u0`, `u1`, ..., of items `i0`, `i1`, ...; item n is of genre n modulo four.

    Args:
        folder: is made.
        scorer: as in the manifest. `vectors` that fold in come with towers, which are linear.
        folds_in: only for vectors; sums do always.
        items: I.
        users: U.
        seed: of all that is random.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    genre = np.arange(items) % len(GENRES)
    own = [np.flatnonzero(genre == user % len(GENRES))[user % 2 :: 2] for user in range(users)]
    _save(folder, priority=random.permutation(items).astype(np.int32))
    for name, rows in (("seen", own), ("own", own), ("values", list(genre[:, None]))):
        _save_rows(folder, name, rows)
    titles = [TITLES[item] if item < len(TITLES) else f"{GENRES[genre[item]]} number {item}" for item in range(items)]
    _dump(folder, "items.json", {"ids": [f"i{item}" for item in range(items)], "titles": titles})
    _dump(folder, "users.json", {"ids": [f"u{user}" for user in range(users)]})
    _dump(folder, "values.json", [["genre", name] for name in GENRES])
    if scorer == "vectors":
        _write_vectors(folder, random, genre, own, folds_in)
    else:
        alike = (genre[:, None] == genre) * random.uniform(0.5, 1, (items, items))
        _write_sums(folder, scorer, np.where(np.eye(items, dtype=bool), 0, alike).astype(np.float32))
    with_towers = scorer == "vectors" and folds_in
    _write_manifest(
        folder,
        model={"vectors": "TwoTower" if folds_in else "MF", "dense": "EASE", "sparse": "ItemKNN"}[scorer],
        scorer=scorer,
        users=users,
        items=items,
        dim=DIM if scorer == "vectors" else items,
        folds_in=folds_in or scorer != "vectors",
        columns=Columns(title=False, numbers=["pages"], categories=["genre"]) if with_towers else None,
        tables=int(with_towers),
    )
    return folder


def _write_vectors(
    folder: Path, random: np.random.Generator, genre: NDArray[Any], own: Sequence[NDArray[Any]], folds_in: bool
) -> None:
    table = random.normal(size=(len(GENRES), DIM)).astype(np.float32)
    pages = random.normal(size=(len(genre), 1)).astype(np.float32)
    rows = np.concatenate([pages, table[genre]], 1)
    weight = np.concatenate([random.normal(size=(1, DIM)) / 4, np.eye(DIM)]).astype(np.float32)
    profiles = np.stack([rows[items].mean(0) for items in own])
    _save(folder, users=profiles @ weight, items=rows @ weight)
    if not folds_in:
        return
    _save(folder, rows=rows, table_0=table)
    codes = {name: place for place, name in enumerate(GENRES)}
    pages_spec = {"column": "pages", "log": False, "gaps": False, "mean": 300.0, "deviation": 100.0}
    categories = {"genre": {"codes": codes, "hashed": 0}}
    _dump(folder, "features.json", {"numbers": [pages_spec], "title": None, "categories": categories})
    for side in ("user", "item"):
        (folder / f"{side}_tower.onnx").write_bytes(_linear_tower(weight))


def _linear_tower(weight: NDArray[np.float32]) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inside, outside = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["row", "weight"], ["vector"])],
        "tower",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", inside])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", outside])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _write_sums(folder: Path, scorer: Scorer, weight: NDArray[np.float32]) -> None:
    if scorer == "dense":
        return _save(folder, weight=weight)
    _save_rows(folder, "weight", [np.flatnonzero(row) for row in weight])
    _save(folder, weight_value=weight[weight != 0])


def _write_manifest(folder: Path, **facts: Any) -> None:
    files = {path.name: File(bytes=path.stat().st_size, sha256=digest(path)) for path in sorted(folder.iterdir())}
    manifest = Manifest(
        format=FORMAT,
        version="0",
        data="made-up",
        split="all rows",
        fingerprint="0" * 16,
        item_type="book",
        files=files,
        **facts,
    )
    _dump(folder, MANIFEST, manifest.model_dump())


def _save(folder: Path, **arrays: NDArray[Any]) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def _save_rows(folder: Path, name: str, rows: Sequence[NDArray[Any]]) -> None:
    crow = np.cumsum([0, *map(len, rows)])
    _save(folder, **{f"{name}_crow": crow.astype(np.int64), f"{name}_col": np.concatenate(rows).astype(np.int32)})


def _dump(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
