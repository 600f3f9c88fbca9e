from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import REPOSITORY, Recsys
from tests.worlds import write_csv


def test_help_says_what_the_exit_status_means(recsys: Recsys) -> None:
    for words in (["--help"], ["-h"], []):
        outcome = recsys("audit", *words)
        assert outcome.status == 0 and "The exit status is 1 with faults, 0 without." in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["goodbooks"], "Say which data: --config FILE of an experiment, or --data NAME with its options, as in"),
        (["--json"], "Say which data"),
        (["--data", "MovieTweeting"], "MovieTweeting"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said(recsys: Recsys, words: list[str], message: str) -> None:
    outcome = recsys("audit", *words)
    assert outcome.status == 2 and message in outcome.err and "Traceback" not in outcome.err


def test_an_experiment_without_faults(recsys: Recsys) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "ease.yaml"
    outcome = recsys("audit", "--config", config)
    assert outcome.status == 0, outcome.err
    split = yaml.safe_load(config.with_name("data.yaml").read_text())["init_args"]["recipe"]["split"]
    assert outcome.out.startswith(f"# movietweetings: {split}, val 0.1, test 0.1")
    assert "| read | 66,519 | 4,271 | 2,301 |" in outcome.out and outcome.last_line.endswith("No faults.")


def test_a_table_with_a_column_that_knows_the_test(recsys: Recsys, tmp_path: Path) -> None:
    write_csv(tmp_path / "world.csv")
    rows = pd.read_csv(tmp_path / "world.csv")
    item = rows.columns[1]
    table = rows[item].value_counts().rename_axis("item_id").rename("times_bought").reset_index()
    table.assign(title=[f"Number {item}" for item in table["item_id"]]).to_csv(tmp_path / "items.csv", index=False)
    options = ["--data", "Table", "--data.root", tmp_path, "--data.interactions", "world.csv"]
    options += ["--data.columns.timestamp", "timestamp", "--data.recipe.split", "global_time"]
    clean = recsys("audit", *options)
    assert clean.status == 0 and "| later_history | ok |" in clean.out, clean.err
    described = "{file: items.csv, id: item_id, numbers: [times_bought]}"
    spoilt = recsys("audit", *options, "--data.items", described, "--json")
    assert spoilt.status == 1, spoilt.err
    told = json.loads(spoilt.out)
    assert told["faults"] == 1
    [fault] = [check for check in told["checks"] if check["outcome"] == "fault"]
    assert fault["name"] == "counted_columns" and "times_bought" in fault["findings"][0]["message"]


def test_a_table_of_one_user_leaves_nothing_to_test(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("user_id,item_id,timestamp\nann,tea,1\n")
    options = ["--data", "Table", "--data.root", tmp_path, "--data.interactions", "one.csv"]
    options += ["--data.columns.timestamp", "timestamp", "--data.recipe.split", "leave_last_out"]
    outcome = recsys("audit", *options)
    assert outcome.status == 1, outcome.err
    assert "* fault, empty_parts: there are no test rows, though the split promises some" in outcome.out
    for name in ("later_history", "cold_users"):
        assert f"| {name} | not made: there are no held-out rows |" in outcome.out


def test_columns_that_models_are_given_are_known(recsys: Recsys) -> None:
    options = ["--data", "MovieTweetings", "--data.graph.context", "[meter]"]
    outcome = recsys("audit", *options, "--data.features.numbers", "[metacritic]")
    assert outcome.status == 0 and "models are given meter, metacritic: gathered after" in outcome.out
    without = recsys("audit", *options[:2])
    assert "| later_columns | ok |" in without.out
