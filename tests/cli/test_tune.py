from __future__ import annotations

import csv
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from recsys_lightning.cli.sweep import Sweep
from tests.conftest import REPOSITORY, Outcome, Recsys

EXPERIMENT = REPOSITORY / "experiments" / "movietweetings" / "mf.yaml"
SMALL = [
    *("--data.recipe.limit_users", "60", "--model.recommender.dim", "8", "--trainer.max_epochs", "2"),
    *("--trainer.accelerator", "cpu"),
]
RATES = {"model.optimizer.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}}


def sweep(folder: Path, **changes: Any) -> Path:
    metric = {"name": "val/recall_10", "goal": "maximize"}
    dims = {"model.recommender.dim": {"values": [4, 8, 16]}, "data.batch_size": {"value": 512}}
    content = {"method": "bayes", "metric": metric, "parameters": {**RATES, **dims}, **changes}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return folder / "sweep.yaml"


def tune(
    recsys: Recsys, folder: Path, *words: object, config: Path = EXPERIMENT, options: list[str] = SMALL
) -> Outcome:
    root = ["--trainer.default_root_dir", folder / "runs"]
    return recsys("tune", "--config", config, "--sweep", folder / "sweep.yaml", *options, *root, *words)


def trials(folder: Path, search: str = "tune-sweep-0") -> list[dict[str, str]]:
    with (folder / "runs" / search / "trials.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["trial"]))


def found(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in ("run", "seconds")} for row in rows]


def test_every_trial_is_a_run_and_a_resumed_search_finds_the_same(recsys: Recsys, tmp_path: Path) -> None:
    sweep(tmp_path)
    whole = tune(recsys, tmp_path, "--trials", 2, "--seed", 7)
    assert whole.status == 0, whole.err
    rows = trials(tmp_path)
    assert [row["state"] for row in rows] == ["complete"] * 2
    for row in rows:
        config = yaml.safe_load((Path(row["run"]) / "config.yaml").read_text())
        assert config["model"]["init_args"]["recommender"]["init_args"]["dim"] == int(row["model.recommender.dim"])
        assert config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == float(row["model.optimizer.lr"])
        assert config["data"]["init_args"]["batch_size"] == 512
        assert config["checkpoint"]["monitor"] == "val/recall_10" and config["checkpoint"]["mode"] == "max"
        logged = [line["val/recall_10"] for line in csv.DictReader((Path(row["run"]) / "metrics.csv").open())]
        assert float(row["val/recall_10"]) == pytest.approx(max(float(value) for value in logged if value))
    assert len({row["run"] for row in rows}) == 2

    best = max(rows, key=lambda row: float(row["val/recall_10"]))
    assert f"best: trial {best['trial']}, val/recall_10 {float(best['val/recall_10']):.4f}" in whole.out
    assert f"--model.optimizer.lr={best['model.optimizer.lr']}" in whole.out
    command = shlex.split(whole.last_line.removeprefix("test it: recsys "))
    tested = recsys(*command)
    assert tested.status == 0, tested.err
    assert json.loads(Path(tested.last_line).read_text())["checkpoint"] == f"{best['run']}/checkpoints/best.ckpt"

    storage = ["--seed", 7, "--storage", tmp_path / "search.journal"]
    for number in (1, 2):
        assert tune(recsys, tmp_path, "--trials", number, *storage).status == 0
    assert found(trials(tmp_path, "tune-sweep-1")) == found(rows)
    other = tune(recsys, tmp_path, "--trials", 3, *storage, "--model.weight_decay", "0.5")
    assert other.status == 2 and "has another configuration" in other.err


def test_failed_trials_are_recorded_and_the_search_goes_on(recsys: Recsys, tmp_path: Path) -> None:
    rates = {"model.optimizer.lr": {"values": [-1.0, 1.0e30, 0.05]}}
    sweep(tmp_path, method="grid", parameters=rates)
    outcome = tune(recsys, tmp_path, "--trials", 9)  # a grid ends by itself
    assert outcome.status == 0, outcome.err
    rows = trials(tmp_path)
    assert [row["state"] for row in rows] == ["failed", "failed", "complete"]
    assert "Invalid learning rate" in rows[0]["reason"] and "diverged" in rows[1]["reason"]
    assert "trial 0: lr=-1: failed, The optimizer" in outcome.out
    assert "best: trial 2" in outcome.out and "Traceback" not in outcome.err


def test_where_all_fail_the_status_says_so(recsys: Recsys, tmp_path: Path) -> None:
    sweep(tmp_path, method="grid", parameters={"model.optimizer.lr": {"values": [-1.0, -2.0]}})
    outcome = tune(recsys, tmp_path, "--trials", 2)
    assert outcome.status == 2 and "No trial has ended with a value; the first one: The optimizer" in outcome.err


def test_poor_trials_are_stopped_early_and_marked(
    recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sweep, "pruner", lambda self: optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=1))
    sweep(tmp_path, method="random")
    outcome = tune(recsys, tmp_path, "--trials", 1, "--trainer.max_epochs", 9)
    assert outcome.status == 0, outcome.err
    [row] = trials(tmp_path)
    assert (row["state"], row["epochs"]) == ("pruned", "2") and float(row["val/recall_10"]) > 0
    assert (Path(row["run"]) / "checkpoints" / "last.ckpt").is_file()


def test_closed_forms_are_searched_by_validating(recsys: Recsys, tmp_path: Path) -> None:
    values = {"model.recommender.regularization": {"values": [1.0, 100.0]}}
    sweep(tmp_path, method="grid", parameters=values)
    config = EXPERIMENT.with_name("ease.yaml")
    small = ["--data.recipe.limit_users", "60", "--trainer.accelerator", "cpu"]
    outcome = tune(recsys, tmp_path, "--trials", 2, config=config, options=small)
    assert outcome.status == 0, outcome.err
    rows = trials(tmp_path)
    assert all((Path(row["run"]) / "config.yaml").is_file() for row in rows) and len({row["run"] for row in rows}) == 2
    assert "fit it again" not in outcome.out and "--ckpt_path" not in outcome.last_line
    tested = recsys(*shlex.split(outcome.last_line.removeprefix("test it: recsys ")))
    assert tested.status == 0, tested.err


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"metric": {"name": "test/ndcg_10", "goal": "maximize"}}, [], "would select on the test rows"),
        ({"metric": {"name": "val/ndcg_7", "goal": "maximize"}}, [], "there will be no such figure"),
        ({}, ["--data.recipe.val", "0"], "there are no val rows"),
        ({"parameters": {"model.recommender.dims": {"values": [4]}}}, [], "model.recommender.dims"),
        ({"parameters": {"model.recommender.dim": {"values": ["wide"]}}}, [], "model.recommender.dim is wide"),
        ({}, ["--trials", "0"], "--trials is 0; it must be a whole number of at least 1"),
        ({}, ["--timeout", "soon"], "--timeout is soon"),
        ({}, ["--seed", "x"], "--seed is x"),
        ({}, ["--seed"], "--seed is given without a value"),
        ({}, ["--storage", REPOSITORY / "README.md"], "holds no search, or cannot be read"),
        ({}, ["--trainer.devices", "2", "--trainer.strategy", "ddp_fork"], "is one process: give --trainer.devices 1"),
        ({}, ["--layers", "2"], "layers"),
    ],
)
def test_what_is_wrong_is_said_before_any_trial(
    recsys: Recsys, tmp_path: Path, changes: dict[str, Any], words: list[object], message: str
) -> None:
    sweep(tmp_path, **changes)
    outcome = tune(recsys, tmp_path, *(["--trials", 1] if "--trials" not in words else []), *words)
    assert outcome.status == 2
    assert message in outcome.err and "Traceback" not in outcome.err and "trial 0" not in outcome.out, outcome.err
    assert not list(tmp_path.glob("runs/tune-*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", EXPERIMENT, "--trials", "2"], "Say what to search: recsys tune --config FILE --sweep FILE"),
        (["--sweep", "SWEEP", "--trials", "2"], "Say with what model and data"),
        (["--config", EXPERIMENT, "--sweep", "SWEEP"], "Say how many trials: --trials N"),
        (["--config", EXPERIMENT, "--sweep", "no.yaml", "--trials", "2"], "The sweep no.yaml cannot be read"),
    ],
)
def test_what_is_missing_is_said(recsys: Recsys, tmp_path: Path, words: list[object], message: str) -> None:
    path = sweep(tmp_path)
    outcome = recsys("tune", *(path if word == "SWEEP" else word for word in words))
    assert outcome.status == 2 and message in outcome.err


@pytest.mark.slow
def test_ctrl_c_ends_the_search_and_shows_what_was_found(tmp_path: Path) -> None:
    sweep(tmp_path, run_cap=500)
    words = ["--config", EXPERIMENT, "--sweep", tmp_path / "sweep.yaml", "--storage", tmp_path / "search.db", *SMALL]
    command = [sys.executable, "-m", "recsys_lightning", "tune", *map(str, words)]
    process = subprocess.Popen(
        [*command, "--trainer.default_root_dir", str(tmp_path / "runs"), "--trainer.max_epochs", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # a shell's background jobs are deaf to it, and so would be what they start
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("trial 0: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err and re.search(r"^best: trial \d+, val/recall_10 0\.\d+$", out, re.MULTILINE), out
    assert {row["state"] for row in trials(tmp_path)} <= {"complete", "pruned", "stopped"}
    study = optuna.load_study(study_name="recsys", storage=f"sqlite:///{tmp_path / 'search.db'}")
    assert not [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
