from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.serving.engine import Engine
from recsys_lightning.serving.format import MANIFEST, Export, File, digest
from tests.serving.exports import write_export


def forge(folder: Path, name: str, array: Any) -> None:
    """Put another array in the place of a file, with a manifest that agrees."""
    np.save(folder / name, array)
    sign(folder, name)


def sign(folder: Path, name: str) -> None:
    change(folder, lambda held: held["files"].update({name: entry(folder / name)}))


def entry(path: Path) -> dict[str, Any]:
    return File(bytes=path.stat().st_size, sha256=digest(path)).model_dump()


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    held = json.loads((folder / MANIFEST).read_text())
    how(held)
    (folder / MANIFEST).write_text(json.dumps(held))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        Engine(folder)
    return str(error.value)


def test_a_folder_can_be_moved_and_what_is_read_stays_on_the_disk(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    folder.rename(tmp_path / "moved")
    export = Export(tmp_path / "moved")
    assert isinstance(export.array("items.npy", np.float32, (60, None)), np.memmap)
    assert export.rows("own", 20, 60).row(0).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert export.has("rows.npy") and not export.has("weight.npy")


def test_no_export(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"There is no folder {tmp_path}/none.")
    assert "is no export: it has no manifest.json" in refusal(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    assert "is no manifest of an export" in refusal(tmp_path)
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    assert "is no manifest of an export" in refusal(tmp_path)
    (tmp_path / MANIFEST).write_text(" " * (1 << 21))
    assert "larger than 1 MiB" in refusal(tmp_path)


def test_a_tampered_missing_or_linked_file_is_refused(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    whole = (folder / "items.npy").read_bytes()
    (folder / "items.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "items.npy has changed since it was exported" in refusal(folder)
    (folder / "items.npy").write_bytes(whole[:-5])
    assert f"holds {len(whole) - 5:,} bytes, and was written with {len(whole):,}" in refusal(folder)
    (tmp_path / "elsewhere").write_bytes(whole)
    (folder / "items.npy").unlink()
    assert "is incomplete: items.npy is missing" in refusal(folder)
    (folder / "items.npy").symlink_to(tmp_path / "elsewhere")
    assert "items.npy is a link or no file" in refusal(folder)
    (folder / "items.npy").unlink()
    os.mkfifo(folder / "items.npy")
    assert "items.npy is a link or no file" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../users.json", "/etc/passwd", "a/b.npy", "x.pkl", "..", "", "users.json\n", "U.npy"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = write_export(tmp_path / "export")
    change(folder, lambda held: held["files"].update({name: entry(folder / "users.json")}))
    assert f"names {name!r}, which is no file of an export" in refusal(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda held: held.update(format=2), "was exported in format 2, and this program reads format 1"),
        (lambda held: held.pop("format"), "is no manifest of an export"),
        (lambda held: held.update(code="os.system"), "code: Extra inputs are not permitted"),
        (lambda held: held.update(items="60"), "items: Input should be a valid integer"),
        (lambda held: held.update(users=-1), "users: Input should be greater than or equal to 0"),
        (lambda held: held.update(scorer="pickle"), "scorer: Input should be 'vectors', 'dense' or 'sparse'"),
        (lambda held: held["files"].pop("rows.npy"), "names no rows.npy, which a model of this kind needs"),
        (lambda held: held.update(items=59), "does not hold 59 ids"),
        (lambda held: held.update(dim=9), "users.npy is float32 of shape (20, 8), not float32 of (20, 9)"),
    ],
)
def test_a_manifest_that_does_not_fit(tmp_path: Path, how: Callable[[dict[str, Any]], object], message: str) -> None:
    folder = write_export(tmp_path / "export")
    change(folder, how)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("items.npy", np.zeros((60, 8)), "is float64 of shape (60, 8), not float32"),
        ("items.npy", np.full((60, 8), np.nan, np.float32), "holds numbers that are not finite"),
        ("items.npy", np.asfortranarray(np.zeros((60, 8), np.float32)), "is float32 of shape"),
        ("priority.npy", np.zeros(60, np.int32), "is no order of the items"),
        ("seen_crow.npy", np.full(21, -1), "does not say where rows begin"),
        ("seen_col.npy", np.full(150, 60, np.int32), "holds indices that are not below 60"),
    ],
)
def test_arrays_that_agree_with_the_manifest_and_still_hold_nonsense(
    tmp_path: Path, name: str, array: Any, message: str
) -> None:
    folder = write_export(tmp_path / "export")
    forge(folder, name, array)
    assert message in refusal(folder)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    np.save(folder / "priority.npy", np.array([{"a": 1}] * 60, object), allow_pickle=True)
    sign(folder, "priority.npy")
    assert "priority.npy is no array of numbers" in refusal(folder)
    np.savez(folder / "archive.npz", np.arange(60))
    (folder / "archive.npz").rename(folder / "priority.npy")
    sign(folder, "priority.npy")
    assert "priority.npy is no array of numbers" in refusal(folder)


@pytest.mark.parametrize(
    "said",
    [
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**70},)}}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 8)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "((((",
        " {'descr'\n :",
    ],
)
def test_a_header_that_describes_no_array(tmp_path: Path, said: str) -> None:
    folder = write_export(tmp_path / "export")
    header = said.ljust(117).encode() + b"\n"
    (folder / "items.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    sign(folder, "items.npy")
    assert "items.npy is no array of numbers" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[1]", '[["genre"]]', "null"])
def test_json_of_another_form(tmp_path: Path, content: str) -> None:
    folder = write_export(tmp_path / "export")
    (folder / "values.json").write_text(content)
    sign(folder, "values.json")
    assert "values.json" in refusal(folder)


def test_an_id_that_comes_twice(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    (folder / "users.json").write_text(json.dumps({"ids": ["u"] * 20}))
    sign(folder, "users.json")
    assert "users.json holds an id twice" in refusal(folder)


def test_what_changes_after_the_check_is_noticed(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    export = Export(folder)
    (folder / "users.json").write_text("{}")
    with pytest.raises(InputError, match="has changed since it was exported"):
        export.json("users.json")
