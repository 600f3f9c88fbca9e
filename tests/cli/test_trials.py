from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from recsys_lightning.cli.trials import Outcome, commands, line, outcome, outcomes, short, table, write_csv

OPTIONS = {"model.recommender.dim": 64, "model.optimizer.lr": 0.00123456}


def one(number: int, value: float | None, state: str = "complete", run: str = "", reason: str = "") -> Outcome:
    return Outcome(number, state, value, 3, 1.25, run, reason, dict(OPTIONS))


def test_names_are_as_short_as_they_are_distinct() -> None:
    assert short({"model.optimizer.lr": 1, "model.recommender.dim": 2}) == {"lr": 1, "dim": 2}
    assert short({"model.negatives": 1, "data.graph.negatives": 2, "model.negatives.count": 3}) == {
        "model.negatives": 1,
        "graph.negatives": 2,
        "count": 3,
    }


@pytest.mark.parametrize(("maximize", "expected"), [(True, [1, 3, 0, 2, 4]), (False, [0, 1, 3, 2, 4])])
def test_the_best_comes_first_and_what_has_no_value_last(maximize: bool, expected: list[int]) -> None:
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for value in (0.1, 0.3, None, 0.3, None):
        trial = study.ask()
        if value is None:
            trial.set_user_attr("reason", "broken")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            trial.set_user_attr("value", value)
            study.tell(trial, value)
    assert [found.number for found in outcomes(study, maximize)] == expected


def test_states_are_told_apart() -> None:
    study, states = optuna.create_study(), optuna.trial.TrialState
    for state, reason in ((states.PRUNED, ""), (states.FAIL, "broken"), (states.FAIL, "")):
        trial = study.ask()
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, state=state)
    study.ask()
    assert [outcome(trial).state for trial in study.trials] == ["pruned", "failed", "stopped", "stopped"]


def test_lines() -> None:
    assert line(one(3, 0.25), "val/ndcg_10") == "trial 3: dim=64 lr=0.001235: val/ndcg_10 0.2500, 3 epochs, 1.2 s"
    assert line(one(3, 0.25, "pruned"), "val/ndcg_10").endswith("1.2 s, pruned")
    assert line(one(3, None, "failed", reason="No."), "x") == "trial 3: dim=64 lr=0.001235: failed, No."


def test_one_epoch_is_not_many() -> None:
    assert ", 1 epoch, 1.2 s" in line(replace(one(3, 0.25), epochs=1), "val/ndcg_10")


def test_the_table_marks_pruned_trials(tmp_path: Path) -> None:
    found = [one(1, 0.5, run=str(tmp_path / "a" / "b")), one(0, 0.4, "pruned"), one(2, None, "failed")]
    lines = table(found, "val/ndcg_10", tmp_path).splitlines()
    assert lines[0].split() == ["trial", "val/ndcg_10", "state", "epochs", "s", "dim", "lr", "run"]
    assert lines[2].split() == ["1", "0.5000", "complete", "3", "1.2", "64", "0.001235", "a/b"]
    assert [row.split()[2] for row in lines[3:]] == ["pruned", "failed"]


def test_the_file_has_every_digit_and_every_name(tmp_path: Path) -> None:
    write_csv(tmp_path / "trials.csv", [one(1, 0.1 + 0.2), one(2, None, "failed", reason="a, b")], "val/ndcg_10")
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "2"]
    assert float(rows[0]["val/ndcg_10"]) == 0.1 + 0.2 and rows[1]["val/ndcg_10"] == ""
    assert float(rows[0]["model.optimizer.lr"]) == OPTIONS["model.optimizer.lr"]
    assert rows[1]["reason"] == "a, b"
    assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]


@pytest.mark.parametrize("trained", [True, False])
def test_the_commands_name_the_checkpoint_where_there_is_one(tmp_path: Path, trained: bool) -> None:
    checkpoint = tmp_path / "checkpoints" / "best.ckpt"
    if trained:
        checkpoint.parent.mkdir()
        checkpoint.touch()
    text = commands(one(1, 0.5, run=str(tmp_path)), "val/ndcg_10", ["--model.recommender.dim=64"])
    assert text.startswith("best: trial 1, val/ndcg_10 0.5000\n  --model.recommender.dim=64\n")
    test = f"test it: recsys test --config {tmp_path}/config.yaml"
    assert text.splitlines()[-1] == (f"{test} --ckpt_path {checkpoint}" if trained else test)
    assert ("fit it again: recsys fit" in text) == trained
