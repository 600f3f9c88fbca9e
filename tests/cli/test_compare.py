from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import wandb

from recsys_lightning.cli.wandb_account import PROJECT
from tests.conftest import Recsys
from tests.reports.compared import values, write


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    models = {"EASE": 0.0, "MF": 0.1}
    return [write(tmp_path / name, values() + by + (values(5) - 0.25) / 5, name, name) for name, by in models.items()]


def test_the_table_is_printed_and_written(recsys: Recsys, runs: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "a" / "b"
    found = recsys("compare", *runs, "--metric", "ndcg_10", "--to", to, "--latex")
    assert found.status == 0, found.err
    assert found.out.splitlines()[-2:] == [str(to / "compare.md"), str(to / "compare.tex")]
    text = (to / "compare.md").read_text(encoding="utf-8")
    assert found.out.startswith(text) and "- MF is higher than EASE in ndcg_10: +0.1000" in text
    assert "recall" not in text and "\\toprule" in (to / "compare.tex").read_text(encoding="utf-8")
    other = recsys("compare", *runs, f"--base={runs[1]}/", "--latex")
    assert "- EASE is lower than MF in ndcg_10: -0.1000" in other.out and "\\toprule" in other.out
    assert "EASE is lower than MF in recall_10" in other.out


def test_the_table_is_logged_offline(
    recsys: Recsys, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "")
    started, init = list[Any](), wandb.init
    monkeypatch.setattr(wandb, "init", lambda **options: started.append(init(**options)) or started[-1])
    found = recsys("compare", *runs, "--metric=ndcg_10", "--to", tmp_path / "to", "--wandb")
    assert found.status == 0, found.err
    (table,) = (tmp_path / "to").rglob("*.table.json")
    said = table.read_text(encoding="utf-8")
    (run,) = started
    assert run.project == PROJECT
    assert '"effect_size"' in said and '"all users"' in said and found.last_line.startswith("W&B: ")


@pytest.mark.parametrize("words", [["--wandb"], ["--to", "runs/x"]])
def test_a_folder_that_cannot_be_written_to_is_found_out_first(
    recsys: Recsys, runs: list[Path], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs[0].parent)
    Path("runs").write_text("in the way")
    found = recsys("compare", *runs, *words)
    assert found.status == 2 and not found.out
    assert re.fullmatch(r"recsys: The comparison cannot be written to runs\S*: .* Choose another: --to .*\n", found.err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["EASE"], "two runs or more, and was given 1"),
        (["EASE", "--base", "EASE"], "was given 1"),
        (["EASE", "MF", "--too"], "There is no option --too"),
        (["EASE", "MF", "--to"], "--to is given without a value"),
        (["EASE", "gone"], "gone is not there"),
        (["EASE", "MF", "--metric", "ndcg_7"], "has no ndcg_7 of users; it has recall_10"),
        (["EASE", "MF", "--to", "EASE/facts.json"], "cannot be written to"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    recsys: Recsys, runs: list[Path], words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs[0].parent)
    found = recsys("compare", *words)
    assert found.status == 2 and message in found.err and "Traceback" not in found.err
