"""`experiments/transfer.py`: users who are new in a domain, through the real command line."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from recsys_lightning.cli import INTERRUPTED
from recsys_lightning.cli.stages import Chain
from tests.conftest import REPOSITORY
from tests.experiments import stages_in_this_process

DATA = """
class_path: SyntheticDomains
init_args:
  users: 120
  items: {movie: 30, book: 30}
  rows: 10
  recipe: {split: leave_last_out, val: 1, test: 1}
"""
MODEL = """
data: data.yaml
model: {class_path: Ranking, init_args: {recommender: NAME}}
trainer: {enable_progress_bar: false, accelerator: cpu}
"""
CHAIN = """
stages:
  popularity: {config: popularity.yaml, run: [test]}
  ease: {config: ease.yaml, run: [test]}
  books: {config: ease.yaml, run: [test], domain: book}
base: ease
"""


@pytest.fixture(scope="module")
def transfer() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        yield importlib.import_module("transfer")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    files = {
        "data": DATA,
        "chain": CHAIN,
        "popularity": MODEL.replace("NAME", "Popularity"),
        "ease": MODEL.replace("NAME", "EASE"),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "chain.yaml"


def test_the_same_users_are_tested_for_every_k_and_runs_are_done_once(
    transfer: ModuleType,
    chain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    commands = stages_in_this_process(monkeypatch)
    words = ["--config", str(chain), "--target", "book", "--folder", str(tmp_path / "out"), "--reserve", "3"]
    words += ["--seeds", "1", "--share", "0.3", "--k", "0", "all"]
    assert transfer.main(words) == 0
    text = (tmp_path / "out" / "chain-book" / "transfer.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| (?:0|all) .*$", text, re.M)]
    assert [line[:2] for line in lines] == [["0", "popularity"], ["0", "ease"], ["all", "popularity"], ["all", "ease"]]
    assert len({line[2] for line in lines}) == 1 and int(lines[0][2]) > 20
    assert [line[5] == "" for line in lines] == [False, True, False, True]
    assert len(commands) == 4
    assert transfer.main(words) == 0
    assert len(commands) == 4
    capfd.readouterr()
    assert transfer.main([*words[:-2], "1"]) == 0  # one more k: the others stay in the report
    assert len(commands) == 6
    shown = re.findall(r"^\| (0|1|all) \| (\w+)", capfd.readouterr().out, re.M)
    assert shown == [(k, stage) for k in ("0", "1", "all") for stage in ("popularity", "ease")]
    assert transfer.main([*words, "--only", "ease", "--metric", "ndcg_7"]) == 2
    assert "has no ndcg_7 of users; it has" in capfd.readouterr().err


def test_ctrl_c_is_one_line(
    transfer: ModuleType,
    chain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("recsys_lightning.cli.chain.carried_out", lambda words: INTERRUPTED)
    words = ["--config", str(chain), "--target", "book", "--folder", str(tmp_path / "out"), "--seeds", "1"]
    assert transfer.main(words) == INTERRUPTED
    assert capsys.readouterr().err.startswith("transfer: Stage popularity was interrupted at test. Give the same")


def test_users_are_told_by_id_not_by_place(transfer: ModuleType) -> None:
    """A stage that tested one user more, or in another order, is not compared user by user with others."""
    users, values = ["a", "b", "c", "d"], [0.1, 0.2, 0.3, 0.9]
    table = pd.DataFrame({"user_id": users, "domain": "book", "ndcg_10": values})
    given = argparse.Namespace(target="book", metric="ndcg_10", seeds=1)
    found = {"0": {"ease": [table[:3][::-1]], "mf": [table]}}
    text = transfer._report(Chain("demo", {}, "ease"), given, found)
    assert "| 0 | mf | 3 | 0.2000 |" in text and "| +0.0000 [+0.0000, +0.0000] |" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "book", "--k", "3"], "each --k one of 0, 1, 2, 5, all"),
        (["--target", "book", "--seeds", "0"], "--seeds must be at least 1"),
        (["--target", "book", "--reserve", "1"], "--reserve is 1, and --k goes up to 5"),
        (["--target", "book", "--metric", "nope"], "--metric is nope; it is one of ndcg, recall"),
        (["--target", "book", "--only", "nope"], "--only names nope; there are popularity, ease, books"),
        (["--target", "book", "--only", "books"], "--only names books, which is of one domain"),
    ],
)
def test_bad_options_are_refused_in_words(
    transfer: ModuleType, chain: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert transfer.main(["--config", str(chain), *words]) == 2
    assert message in capsys.readouterr().err


def test_help_says_where_runs_lie(transfer: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        transfer.main(["--help"])
    assert "[runs/transfer]" in capsys.readouterr().out
