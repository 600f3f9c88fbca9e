from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_lightning.callbacks.wandb.dashboards import dashboard
from recsys_lightning.cli.dashboard import run
from recsys_lightning.cli.wandb_account import PROJECT
from recsys_lightning.errors import InputError


def test_it_prints_an_outline_or_what_wandb_stores(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["dashboard", "--task", "Conditioning"])
    assert "  Loss of val (line): val/loss" in capsys.readouterr().out.splitlines()
    run(["dashboard", "--task", "Conditioning", "--k", "20", "--json", "--project", "mine"])
    spec = json.loads(capsys.readouterr().out)
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    assert spec["project"] == "mine" and [section["name"] for section in sections] == list(dashboard("Conditioning"))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    run(["dashboard", "--task", "Conditioning", "--json"])
    assert json.loads(capsys.readouterr().out)["project"] == PROJECT


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--json"], "Say of which task"),
        (["--task", "Sorting"], "no dashboard of Sorting"),
        (["--task", "Ranking", "--k", "none"], "--k is none; it must be a whole number"),
        (["--task", "Ranking", "--jsn"], "no option --jsn"),
        (["--task", "Ranking", "--upload", "--project", "mine"], "--upload needs --entity"),
        (["--task", "Ranking", "--upload", "--project", "p", "--entity", "e"], "There is no key of Weights & Biases"),
    ],
)
def test_wrong_words_are_named(words: list[str], named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=named):
        run(["dashboard", *words])


def test_what_wandb_says_to_an_upload_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")

    def refuse(self: object) -> None:
        raise ConnectionError("no way to the service.\nDetails")

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(workspaces.Workspace, "save", refuse)
    with pytest.raises(InputError, match="did not take the dashboard: no way to the service"):
        run(["dashboard", "--task", "Ranking", "--upload", "--project", "p", "--entity", "e"])
