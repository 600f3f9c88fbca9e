from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Recsys
from tests.reports.run import runs


def test_both_pages_are_written_and_named(recsys: Recsys, tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    outcome = recsys("report", folder)
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines() == [str(folder / "report.md"), str(folder / "report.html")]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    to = tmp_path / "a" / "b"
    for words in ([folder, "--to", to], ["--to", to, folder], [folder, f"--to={to}"]):
        assert recsys("report", *words).out.splitlines() == [str(to / "report.md"), str(to / "report.html")]
    assert (to / "report.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "gone is not there"),
        (["a", "b"], "takes the folder of one run, and was given 2"),
        (["--to", "x"], "was given 0"),
        (["a", "--to"], "--to is given without a value"),
        (["a", "--too", "b"], "There is no option --too"),
        (["a", "--t=b"], "There is no option --t=b"),
    ],
)
def test_what_is_wrong_is_said_in_words(recsys: Recsys, words: list[str], message: str) -> None:
    outcome = recsys("report", *words)
    assert outcome.status == 2 and message in outcome.err and "Traceback" not in outcome.err


def test_a_folder_of_runs_names_the_newest(recsys: Recsys, tmp_path: Path) -> None:
    folder = runs.everything(tmp_path)
    outcome = recsys("report", folder.parent)
    assert outcome.status == 2 and f"the newest is {folder}." in outcome.err


def test_damage_is_named_and_nothing_is_written(recsys: Recsys, tmp_path: Path) -> None:
    folder = runs.tested(tmp_path)
    runs.write(folder / "diagnostics.json", runs.diagnostics(cohesion=[{"kind": "genre", "observed": "much"}]))
    outcome = recsys("report", folder)
    assert outcome.status == 2
    assert f'{folder}/diagnostics.json is damaged: cohesion[0].observed is "much", and must be a number' in outcome.err
    assert not list(folder.glob("report.*"))


def test_help_is_quick_to_say() -> None:
    script = (
        "import sys\nfrom recsys_lightning.cli import main\nmain(['report'])\n"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
