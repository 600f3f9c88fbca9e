from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Recsys


def test_it_tells_all_in_words_and_as_json(recsys: Recsys, tmp_path: Path) -> None:
    outcome = recsys("doctor", "--runs", tmp_path / "runs")
    assert outcome.status == 0, outcome.out + outcome.err
    assert "versions" in outcome.out and "lightning" in outcome.out and outcome.last_line.startswith("0 problems")
    findings = json.loads(recsys("doctor", "--runs", tmp_path / "runs", "--json").out)
    assert {tuple(one) for one in findings} == {("group", "name", "state", "text")}
    assert {one["group"] for one in findings} == {"versions", "devices", "memory", "places", "accounts"}
    assert not list(tmp_path.iterdir())


def test_a_problem_shows_in_the_exit_status(recsys: Recsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path / "none"))
    for words in ([], ["--json"]):
        assert recsys("doctor", *words).status == 1


@pytest.mark.parametrize("words", [["--jsn"], ["all"], ["--runs"]])
def test_what_is_wrong_is_said_in_words(recsys: Recsys, words: list[str]) -> None:
    outcome = recsys("doctor", *words)
    assert outcome.status == 2 and words[0] in outcome.err and "Traceback" not in outcome.err


def test_help_and_the_rest_are_quick(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom recsys_lightning.cli import main\nfrom recsys_lightning.cli.machine import Build\n"
        "main(['doctor', '--help'])\nmain(['doctor', '--json', '--runs', sys.argv[1]])\n"
        "slow = [name for name in ('torch', 'lightning', 'wandb') if name in sys.modules]\n"
        "print([] if Build.installed().accelerator and slow == ['torch'] else slow)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("recsys doctor") and done.stdout.splitlines()[-1] == "[]"
