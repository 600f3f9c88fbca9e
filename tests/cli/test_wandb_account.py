from __future__ import annotations

import os
from pathlib import Path

import pytest

from recsys_lightning.cli.wandb_account import PROJECT, settle_wandb, wandb_key, wandb_project


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account and no choice; what is set is put back."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("machine api.wandb.ai\n  login user\n  password secret\n", True),
        ("machine elsewhere.org login user password secret\n", False),
        ("machine\n", False),
    ],
)
def test_a_key_in_the_file_of_wandb_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, there: bool
) -> None:
    assert not wandb_key()
    (tmp_path / ".netrc").write_text(text)
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_key() is there
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert not wandb_key()


def test_without_a_key_it_is_offline_and_with_one_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    settle_wandb()
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_key()
    settle_wandb()
    assert "WANDB_MODE" not in os.environ


def test_the_project_is_ours_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_project() == PROJECT
    settle_wandb()
    assert os.environ["WANDB_PROJECT"] == PROJECT
    monkeypatch.setenv("WANDB_PROJECT", "films")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    settle_wandb()
    assert (wandb_project(), os.environ["WANDB_MODE"]) == ("films", "disabled")
