from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.cli.advice import Asked, ask
from recsys_lightning.errors import InputError
from recsys_lightning.export import write
from recsys_lightning.export.write import write_export
from recsys_lightning.serving.engine import Engine
from recsys_lightning.serving.format import MANIFEST, digest

KNN = [
    *("--data", "MovieTweetings", "--data.recipe.split", "random", "--data.recipe.limit_users", "100"),
    *("--trainer.accelerator", "cpu", "--model", "Ranking", "--model.recommender", "ItemKNN"),
]


@pytest.fixture(scope="module")
def asked() -> Asked:
    return ask(KNN, None, "export")


def test_what_is_written(asked: Asked, tmp_path: Path) -> None:
    manifest = write_export(*asked, tmp_path / "deep" / "export")
    folder = tmp_path / "deep" / "export"
    assert json.loads((folder / MANIFEST).read_text()) == manifest.model_dump()
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *manifest.files}
    for name, file in manifest.files.items():
        assert (file.bytes, file.sha256) == ((folder / name).stat().st_size, digest(folder / name))
    assert manifest.fingerprint == asked.data.schema.fingerprint and manifest.model == "ItemKNN"
    engine, names = Engine(folder), asked.advisor.catalogue
    assert engine.items == list(names.items) and engine.titles == list(names.titles)
    assert [engine.users[user] for user in range(3)] == list(names.users[:3])
    seen = asked.advisor.seen
    assert engine.seen.row(2).tolist() == seen.col[seen.crow[2] : seen.crow[3]].tolist()
    assert len(engine.own.row(2)) < len(engine.seen.row(2))  # val rows are seen, and no item is known by them
    genre = asked.data.prepared.item_attributes["genre"]
    expected = {("genres", genre.values[value]) for value in genre.value[genre.item == 4]}
    assert {engine.values[value] for value in engine.has.row(4).tolist()} >= expected
    assert "import" not in (folder / MANIFEST).read_text() and "recsys_lightning" not in (folder / MANIFEST).read_text()


def test_the_same_model_gives_the_same_files(asked: Asked, tmp_path: Path) -> None:
    assert write_export(*asked, tmp_path / "a").files == write_export(*asked, tmp_path / "b").files


def test_a_folder_that_is_taken(asked: Asked, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    write_export(*asked, folder)  # an empty one is not
    with pytest.raises(InputError, match="is not empty"):
        write_export(*asked, folder)
    (folder / "notes.txt").write_text("on what was exported")
    with pytest.raises(InputError, match=r"holds notes\.txt, which is of no export, so --overwrite does not delete"):
        write_export(*asked, folder, overwrite=True)
    (folder / "notes.txt").unlink()
    write_export(*asked, folder, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for content in ("", "{}", '{"name": "a web page", "icons": []}', "[]"):  # manifest.json is a name that others use
        (other / MANIFEST).write_text(content)
        with pytest.raises(InputError, match=r"holds manifest\.json, which is of no export"):
            write_export(*asked, other, overwrite=True)
    (other / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"holds thesis\.tex, which is of no export"):
        write_export(*asked, other, overwrite=True)
    assert (other / "thesis.tex").exists()
    with pytest.raises(InputError, match="is no folder"):
        write_export(*asked, other / "thesis.tex")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="is no folder"):
        write_export(*asked, tmp_path / "link", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"export", "other", "link"}


@pytest.mark.parametrize("step", ["_write_values", "_compare", "_replace"])
def test_whole_or_not_at_all(asked: Asked, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "export"
    before = write_export(*asked, folder)

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(write, step, fail)
        with pytest.raises(OSError, match="disk full"):
            write_export(*asked, folder, overwrite=True)
        with pytest.raises(OSError, match="disk full"):
            write_export(*asked, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert Engine(folder).manifest == before


@pytest.fixture(scope="module")
def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_killed_exports_left_is_cleared_away(asked: Asked, tmp_path: Path, dead: int) -> None:
    folder = tmp_path / "ex[p]ort"  # brackets mean something in patterns of names
    write_export(*asked, folder)
    own, alive = os.getpid(), os.getppid()
    gone = [f".ex[p]ort.tmp-{dead}", f".ex[p]ort.tmp-{dead}-old", f".ex[p]ort.tmp-{own}"]
    others = [f".ex[p]ort.tmp-{alive}", f".other.tmp-{dead}", f".ex[p]ort.tmp-{dead}-mine", f".export.tmp-{dead}"]
    for name in gone + others:
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / f".ex[p]ort.tmp-{dead}1").touch()
    write_export(*asked, folder, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"ex[p]ort", f".ex[p]ort.tmp-{dead}1", *others}


@pytest.mark.parametrize("emptied", [False, True])
def test_an_export_that_was_killed_while_it_replaced_is_undone(
    asked: Asked, tmp_path: Path, dead: int, emptied: bool
) -> None:
    folder = tmp_path / "export"
    before = write_export(*asked, folder)
    folder.rename(tmp_path / f".export.tmp-{dead}-old")
    (tmp_path / f".export.tmp-{dead}").mkdir()
    if emptied:
        folder.mkdir()
    with pytest.raises(InputError, match="is not empty"):
        write_export(*asked, folder)
    assert Engine(folder).manifest == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_what_is_no_export_keeps_the_old_one_beside_it(asked: Asked, tmp_path: Path, dead: int) -> None:
    old = tmp_path / f".export.tmp-{dead}-old"
    write_export(*asked, old)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "notes.txt").touch()
    with pytest.raises(InputError, match="is not empty"):
        write_export(*asked, tmp_path / "export")
    assert (old / MANIFEST).is_file()


def test_processes_of_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert write._runs(1)


def test_an_export_that_would_score_otherwise_is_none(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys_lightning.serving.scorers import Sums

    monkeypatch.setattr(Sums, "scores", lambda self, people: np.zeros((len(people), self.num_items), np.float32))
    with pytest.raises(InputError, match="Scores of users of the data by the export differ from those of ItemKNN"):
        write_export(*asked, tmp_path / "export")
    assert not list(tmp_path.iterdir())
