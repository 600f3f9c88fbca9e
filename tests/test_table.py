"""`experiments/table.py`: each experiment has its row, whatever becomes of it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

MODEL = "model: {class_path: Ranking, init_args: {recommender: NAME}}"
NOTHING = [None] * 7


@pytest.fixture(scope="module")
def table() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("table")


def experiment(folder: Path, name: str) -> Path:
    (folder / "some.yaml").write_text(MODEL.replace("NAME", name), encoding="utf-8")
    return folder / "some.yaml"


@pytest.mark.parametrize(("name", "verbs"), [("MF", ["fit", "test"]), ("EASE", ["test"])])
def test_figures_are_those_of_the_test(table: ModuleType, tmp_path: Path, name: str, verbs: list[str]) -> None:
    metrics = {f"test/{figure}_{k}": k / 100 for figure in table.FIGURES for k in (20, 10)}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    done: list[list[str]] = []

    def do(*words: object) -> list[str]:
        done.append([str(word) for word in words])
        said = "test it: recsys test --config run/config.yaml --ckpt_path 'run/the best.ckpt'"
        return [said] if words[0] == "fit" else [str(tmp_path / "metrics.json")]

    config = experiment(tmp_path, name)
    assert table.row(do, config) == [f"{tmp_path.name}/some.yaml", name, 10, *[0.1] * 5, "0.0", ""]
    assert [words[0] for words in done] == verbs
    given = (
        ["--config", "run/config.yaml", "--ckpt_path", "run/the best.ckpt"] if name == "MF" else ["--config", config]
    )
    assert done[-1] == ["test", *map(str, given), *table.QUIET]


def test_what_fails_is_shown_in_its_row(table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(table.sys, "executable", str(program))
    do = table.Recsys(tmp_path, tmp_path / "commands.txt", limit=None)
    config = experiment(tmp_path, "MF")
    assert table.row(do, config)[1:] == ["MF", *NOTHING, "`recsys fit` ended with status -9: it said nothing"]
    config.write_text("{", encoding="utf-8")
    file, *none, why = table.row(do, config)
    assert file == f"{tmp_path.name}/some.yaml" and none == [None, *NOTHING] and "some.yaml is no YAML" in why
