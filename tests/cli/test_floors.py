from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY, Recsys
from tests.worlds import write_csv


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name a small CSV file, with a cache of its own."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_csv(tmp_path / "world.csv")
    return [
        *("--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "world.csv"),
        *("--data.columns.timestamp", "timestamp", "--data.recipe.split", "random"),
    ]


def test_all_floors_are_tuned_tested_and_shown(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("floors", *world, "--model.k", "[5]")
    assert outcome.status == 0, outcome.err
    assert "EASE regularization=" in outcome.out and "val/ndcg_5" in outcome.out and "test/ndcg_5" in outcome.out
    table = outcome.out[outcome.out.index("table, random") :].splitlines()
    assert [line.split()[0] for line in table[4:8]] == ["Popularity", "ItemKNN", "EASE", "GFCF"]
    assert "ndcg@5" in table[2]


def test_only_some_and_then_beside_the_model(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("floors", "--only", "Popularity,EASE", *world)
    assert outcome.status == 0 and "ItemKNN" not in outcome.out
    tested = recsys("test", *world, "--model", "Ranking", "--model.recommender", "ItemKNN")
    assert tested.status == 0, tested.err
    report = (Path(tested.last_line).parent / "report.md").read_text()
    assert "| EASE |" in report and "| Popularity |" in report and "GFCF" not in report
    again = recsys("floors", "--only", "EASE", *world)
    assert "val/" not in again.out and "EASE" in again.out
    figures = json.loads(Path(tested.last_line).read_text())
    assert figures["fingerprint"] in report


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "Ease"], "There is no floor Ease; there are Popularity, ItemKNN, EASE, GFCF."),
        (["--only"], "--only takes names of floors"),
        (["--data.recipe.splitt", "random"], "splitt"),
    ],
)
def test_what_is_wrong_is_said(recsys: Recsys, world: list[str], words: list[str], message: str) -> None:
    outcome = recsys("floors", *world, *words) if words != ["--only"] else recsys("floors", "--only")
    assert outcome.status == 2
    assert message in outcome.err and "Traceback" not in outcome.err


def test_without_test_rows_there_is_nothing_to_compute(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("floors", *world, "--data.recipe.test", "0")
    assert outcome.status == 2
    assert "There are no test rows" in outcome.err


def test_an_experiment_names_data_and_cut_offs(recsys: Recsys, world: list[str]) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "lightgcn.yaml"
    outcome = recsys("floors", "--config", config, "--only", "Popularity", "--data.recipe.limit_users", "300")
    assert outcome.status == 0, outcome.err
    split = yaml.safe_load(config.with_name("data.yaml").read_text())["init_args"]["recipe"]["split"]
    assert f"movietweetings, {split}" in outcome.out and "ndcg@10" in outcome.out
    assert "Popularity (default): test/ndcg_10" in outcome.out
