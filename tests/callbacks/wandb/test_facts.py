from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from recsys_lightning import __version__
from recsys_lightning.callbacks.wandb import facts
from recsys_lightning.callbacks.wandb.facts import code_state, data_card, git_state
from recsys_lightning.code import code_digest
from tests.tasks.test_base import data


def git(folder: Path, *words: str) -> str:
    config = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", "-C", folder, *config, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_card_says_what_the_data_are() -> None:
    module = data()
    card = data_card(module)
    assert card["fingerprint"] == module.schema.fingerprint and (card["users"], card["items"]) == (60, 40)
    assert sum(card["rows"].values()) == len(module.prepared.interactions.user) and set(card["rows"]) == {
        "train",
        "val",
        "test",
    }
    assert [step["name"] for step in card["steps"]] == [step.name for step in module.prepared.steps]
    assert "vectors" not in card and card["nodes"]["genre"] > 0


def test_a_commit_is_named_and_a_change_makes_it_dirty(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == {}
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "new").write_text("not of git")
    clean = {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    assert git_state(tmp_path) == git_state(tmp_path / "runs") == clean
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == {**clean, "dirty": True}


def test_without_git_or_a_repository_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == git_state(tmp_path / "nowhere") == {}
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == {}


def test_the_code_is_told_by_its_digest_and_its_own_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(facts, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    told = {"version": __version__, "digest": code_digest()}
    assert code_state() == told
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "somebody's repository that ignores the package")
    assert code_state() == told
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "the package's own")
    assert code_state() == {**told, "commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
