from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.folder import class_named, newest_run, read_run
from tests.reports.run import runs


def test_a_test_finds_its_training(tmp_path: Path) -> None:
    fit = runs.trained(tmp_path)
    run = read_run(runs.tested(tmp_path, checkpoint=fit / "checkpoints" / "best.ckpt"))
    assert run.trained == fit and run.curves is not None and run.curves.monitor == "val/ndcg_5"
    assert len(run.per_user[""]) == 200 and run.config == runs.CONFIG
    assert run.report is not None and run.report.model == "TwoTower" and run.tests == 1


def test_paths_are_found_from_elsewhere_and_after_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs"
    runs.trained(root)
    written = Path("runs/world-twotower/version_0/checkpoints/best.ckpt")
    folder = runs.tested(root, checkpoint=written)
    monkeypatch.chdir("/")
    assert read_run(folder).trained == tmp_path / "runs" / "world-twotower" / "version_0"
    root.rename(tmp_path / "archive")
    moved = tmp_path / "archive" / "world-twotower"
    assert read_run(moved / "version_1").trained == moved / "version_0"
    (moved / "version_0" / "checkpoints" / "best.ckpt").unlink()
    assert read_run(moved / "version_1").trained is None


def test_a_training_finds_its_newest_test(tmp_path: Path) -> None:
    fit = runs.trained(tmp_path)
    assert read_run(fit).tested is None
    checkpoint = fit / "checkpoints" / "best.ckpt"
    older, newer = (runs.tested(tmp_path, version, checkpoint) for version in (2, 1))
    runs.write(older / "facts.json", runs.facts(tested="2026-11-21 23:00:00 UTC"))
    runs.write(newer / "facts.json", runs.facts(tested="2026-11-22 01:00:00 UTC"))
    runs.tested(tmp_path, 3, runs.trained(tmp_path, 7) / "checkpoints" / "best.ckpt")
    broken = runs.write(tmp_path / "world-twotower" / "version_9" / "metrics.json", "{")
    run = read_run(fit)
    assert (run.tested, run.tests, run.trained) == (newer, 2, fit)
    os.remove(broken)
    for folder in (older, newer):
        os.remove(folder / "facts.json")
    os.utime(older / "metrics.json", (1, 1))
    assert read_run(fit).tested == newer


def test_one_folder_for_both_and_closed_forms(tmp_path: Path) -> None:
    both = runs.trained(tmp_path)
    runs.write(both / "metrics.json", runs.metrics())
    assert read_run(both).trained == read_run(both).tested == both
    assert read_run(runs.tested(tmp_path, 5)).trained is None


def test_what_is_no_run_is_refused_in_words(tmp_path: Path) -> None:
    file = runs.write(tmp_path / "metrics.json", runs.metrics())
    with pytest.raises(InputError, match="is a file: name the folder that it lies in"):
        read_run(file)
    with pytest.raises(InputError, match="is not there"):
        read_run(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is no folder of a run: it holds neither metrics\.json"):
        read_run(tmp_path / "empty")


def test_of_a_folder_of_runs_the_newest_is_named(tmp_path: Path) -> None:
    for version in (2, 10):
        runs.trained(tmp_path, version)
    folder = runs.tested(tmp_path, 9).parent
    (folder / "version_11").mkdir()
    assert newest_run(folder) == folder / "version_10" and newest_run(tmp_path) is None
    with pytest.raises(InputError, match=r"holds several runs\. Name one; the newest is .*/version_10\.$"):
        read_run(folder)


@pytest.mark.parametrize("name", ["metrics.json", "facts.json", "diagnostics.json", "shots.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / name, '{"a": ')
    with pytest.raises(InputError, match=f"{name} is damaged"):
        read_run(folder)


def test_damaged_tables_and_configurations_are_named(tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / "config.yaml", "a: [1")
    with pytest.raises(InputError, match=r"config\.yaml is damaged"):
        read_run(folder)
    runs.write(folder / "config.yaml", "[a list]")
    assert read_run(folder).options == {}
    runs.write(folder / "per_user.parquet", "no table")
    with pytest.raises(InputError, match=r"per_user\.parquet is damaged"):
        read_run(folder)


def test_classes_are_named_by_their_last_word() -> None:
    options = {"model": {"init_args": {"recommender": {"class_path": "a.b.MF"}}}, "data": "Goodbooks"}
    assert class_named(options, "model", "init_args", "recommender") == "MF"
    assert class_named(options, "data") == "Goodbooks" and class_named(options, "data", "x") == ""


def test_values_of_users_are_read_by_domain(tmp_path: Path) -> None:
    folder = runs.domains(tmp_path)
    found = read_run(folder).per_user
    assert {name: len(values) for name, values in found.items()} == {"movie": 120, "book": 80}
    pd.DataFrame({"user_id": ["u"], "ndcg_5": [0.1]}).to_parquet(folder / "per_user.parquet")
    with pytest.raises(InputError, match=r"per_user\.parquet is damaged"):
        read_run(folder)
