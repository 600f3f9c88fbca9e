from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from recsys_lightning.callbacks.checkpoint import read_checkpoint
from tests.conftest import REPOSITORY, Recsys
from tests.worlds import write_csv

SMALL = ["--trainer.max_epochs", "3", "--model.optimizer", "Adam", "--model.optimizer.lr", "0.05"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name a small CSV file and a small network."""
    write_csv(tmp_path / "world.csv")
    return [
        *("--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "world.csv"),
        *("--data.columns.timestamp", "timestamp", "--data.recipe.split", "random", "--data.batch_size", "64"),
        *("--model", "Ranking", "--model.recommender", "LightGCN", "--model.recommender.dim", "8"),
    ]


def run_folder(out: str) -> Path:
    found = re.search(r"^run: (.*)$", out, re.MULTILINE)
    assert found, out
    return Path(found[1])


def test_the_short_help_comes_first(recsys: Recsys) -> None:
    short, long = recsys("fit", "--help"), recsys("fit", "--help-all")
    assert short.status == long.status == 0
    assert len(short.out.splitlines()) < 25 < 200 < len(long.out.splitlines())


def test_fit_test_predict(recsys: Recsys, world: list[str]) -> None:
    fitted = recsys("fit", *world, *SMALL)
    assert fitted.status == 0, fitted.err
    run = run_folder(fitted.out)
    again = ["--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt"]

    tested = recsys("test", *again)
    assert tested.status == 0, tested.err
    folder = Path(tested.last_line).parent
    metrics = json.loads(Path(tested.last_line).read_text())
    for key in ("test/ndcg_10", "test/recall_20", "users", "split", "fingerprint", "seconds", "data", "model"):
        assert key in metrics
    assert metrics["model"] == "LightGCN"
    users = pd.read_parquet(folder / "per_user.parquet")
    assert len(users) == metrics["users"]
    assert users["ndcg_10"].mean() == pytest.approx(metrics["test/ndcg_10"], abs=1e-12)
    report = (folder / "report.md").read_text()
    assert metrics["fingerprint"] in report and "Future-item rate" in report

    predicted = recsys("predict", *again)
    assert predicted.status == 0, predicted.err
    table = pd.read_parquet(predicted.last_line)
    assert list(table.columns) == ["user_id", "rank", "item_id", "score", "title"]
    raw = pd.read_csv(Path(world[3]) / "world.csv", dtype=str)
    assert set(table["user_id"]) == set(raw["user_id"]) and set(table["item_id"]) <= set(raw["item_id"])
    assert (table.groupby("user_id")["rank"].apply(list).map(lambda ranks: ranks == list(range(1, 11)))).all()


def test_predictions_are_the_lists_that_test_measured(recsys: Recsys, world: list[str]) -> None:
    model = ["--model.recommender", "EASE", "--model.recommender.regularization", "5"]
    data = world[: world.index("--model")]
    tested = recsys("test", *data, "--model", "Ranking", *model)
    predicted = recsys("predict", *data, "--model", "Ranking", *model)
    users = pd.read_parquet(Path(tested.last_line).parent / "per_user.parquet").set_index("user_id")
    lists = pd.read_parquet(predicted.last_line)
    from recsys_lightning.cli.trainer import make_cli

    module = make_cli([*data, "--model", "Ranking", *model], run=False).datamodule
    rows = module.prepared.interactions.take(module.prepared.mask("test"))
    held_out = {
        (rows.user_ids[int(user)].as_py(), rows.item_ids[int(item)].as_py())
        for user, item in zip(rows.user, rows.item, strict=True)
    }
    hits = [(user, item) in held_out for user, item in zip(lists["user_id"], lists["item_id"], strict=True)]
    counted = pd.Series(hits).groupby(lists["user_id"].to_numpy()).sum()
    expected = users["precision_10"] * 10
    pd.testing.assert_series_equal(counted.loc[expected.index].astype(float), expected, check_names=False)


def test_a_run_can_be_moved(recsys: Recsys, world: list[str], tmp_path: Path) -> None:
    run = run_folder(recsys("fit", *world, *SMALL).out)
    shutil.move(run, tmp_path / "elsewhere")
    shutil.move(Path(world[3]) / "world.csv", tmp_path / "elsewhere" / "world.csv")
    moved = tmp_path / "elsewhere"
    options = ["--config", moved / "config.yaml", "--ckpt_path", moved / "checkpoints" / "best.ckpt"]
    tested = recsys("test", *options, "--data.root", moved)
    assert tested.status == 0, tested.err
    assert json.loads(Path(tested.last_line).read_text())["users"] > 0


def test_the_saved_configuration_repeats_the_run(recsys: Recsys, world: list[str]) -> None:
    first = run_folder(recsys("fit", *world, *SMALL, "--seed_everything", "7").out)
    second = run_folder(recsys("fit", "--config", first / "config.yaml").out)
    assert first != second
    weights = [read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_untrained_parameters_are_not_tested(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("test", *world)
    assert outcome.status == 2
    assert "untrained" in outcome.err and "--ckpt_path" in outcome.err


def test_other_data_is_refused(recsys: Recsys, world: list[str]) -> None:
    run = run_folder(recsys("fit", *world, *SMALL).out)
    options = ["--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt"]
    outcome = recsys("test", *options, "--data.recipe.seed", "5")
    assert outcome.status == 2
    assert outcome.err.count("fingerprint") == 2 and "Traceback" not in outcome.err


def test_closed_forms_are_tested_but_not_fitted(recsys: Recsys, world: list[str]) -> None:
    options = [*world[: world.index("--model.recommender")], "--model.recommender", "Popularity"]
    assert recsys("test", *options).status == 0
    outcome = recsys("fit", *options)
    assert outcome.status == 2 and "closed form" in outcome.err


@pytest.mark.parametrize("option", [["--model.optimizer.lr", "-1"], ["--trainer.devices", "0"], ["--model.k", "[7]"]])
def test_a_refused_run_leaves_no_folder(recsys: Recsys, world: list[str], tmp_path: Path, option: list[str]) -> None:
    outcome = recsys("fit", *world, *SMALL, *option)
    assert outcome.status == 2 and "Traceback" not in outcome.err
    assert not list(tmp_path.glob("runs/*/version_*"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model.recommender.layerz", "2"], "layerz"),
        (["--data.recipe.splitt", "random"], "splitt"),
        (["--trainer.max_epoch", "2"], "max_epoch"),
        (["--model.recommender.layers", "many"], "layers"),
        (["--model.recommender", "LightGNC"], "LightGNC"),
        (["--data.recipe.split", "chronological"], "chronological"),
        (["--model.recommender.layers", "-1"], "layers"),
        (["--data.batch_size", "0"], "batch_size"),
        (["--data.recipe.val", "1.5"], "1.5"),
    ],
)
def test_wrong_options_are_named(recsys: Recsys, world: list[str], options: list[str], named: str) -> None:
    outcome = recsys("fit", *world, *options)
    assert outcome.status == 2
    assert named in outcome.err and "Traceback" not in outcome.err


def test_a_wrong_key_in_yaml_is_named(recsys: Recsys, tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "experiments/movietweetings/mf.yaml").read_text())
    config["data"] = str(REPOSITORY / "experiments/movietweetings/data.yaml")
    config["model"]["init_args"]["learning_rate"] = 1
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(config))
    outcome = recsys("fit", "--config", tmp_path / "wrong.yaml")
    assert outcome.status == 2 and "learning_rate" in outcome.err


def test_a_missing_file_is_named_before_anything_is_made(recsys: Recsys, world: list[str], tmp_path: Path) -> None:
    (tmp_path / "world.csv").unlink()
    outcome = recsys("fit", *world)
    assert outcome.status == 2
    assert "world.csv" in outcome.err and "Traceback" not in outcome.err
    assert not list(tmp_path.glob("runs/**/*.ckpt"))


def test_print_config_shows_everything_and_stops(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("fit", *world, "--print_config")
    config = yaml.safe_load(outcome.out)
    assert config["model"]["init_args"]["recommender"]["init_args"] == {"dim": 8, "layers": 3}
    assert config["data"]["init_args"]["recipe"]["split"] == "random"


def test_diverging_training_ends_with_a_sentence(recsys: Recsys, world: list[str]) -> None:
    outcome = recsys("fit", *world, *SMALL, "--model.optimizer.lr", "1e30")
    assert outcome.status == 1
    assert "Training diverged at epoch 0" in outcome.err and "Traceback" not in outcome.err


@pytest.mark.filterwarnings("default::UserWarning:recsys_lightning")
def test_a_truncated_last_checkpoint_falls_back(recsys: Recsys, world: list[str]) -> None:
    run = run_folder(recsys("fit", *world, *SMALL).out)
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    outcome = recsys("fit", "--config", run / "config.yaml", "--ckpt_path", last, "--trainer.max_epochs", "4")
    assert outcome.status == 0
    assert "1,000 of" in outcome.err and "Going on from" in outcome.err
    assert run_folder(outcome.out) == run


def test_early_stopping_and_schedulers_come_from_the_command_line(recsys: Recsys, world: list[str]) -> None:
    options = ["--trainer.max_epochs", "50", "--early_stopping.patience", "1", "--model.optimizer", "SGD"]
    options += [
        "--model.optimizer.lr",
        "1e-9",
        "--model.lr_scheduler",
        "ExponentialLR",
        "--model.lr_scheduler.gamma",
        ".5",
    ]
    run = run_folder(recsys("fit", *world, *options).out)
    content = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert content["epoch"] < 5
    assert content["lr_schedulers"][0]["gamma"] == 0.5


def command(*words: object, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "recsys_lightning", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        start_new_session=True,
    )


KILLED = """
import os, signal, sys
from recsys_lightning.callbacks.checkpoint import BestAndLast
from recsys_lightning.cli import main
whole = BestAndLast.on_train_batch_end
def end(self, trainer, *rest):
    whole(self, trainer, *rest)
    if trainer.global_step == 17:
        os.kill(os.getpid(), signal.SIGKILL)
BestAndLast.on_train_batch_end = end
main(sys.argv[1:])
"""


@pytest.mark.parametrize("accumulate", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_in_mid_epoch_and_resumed_it_ends_with_the_same_weights(
    recsys: Recsys, world: list[str], tmp_path: Path, accumulate: int
) -> None:
    options = [
        *world,
        *SMALL,
        "--trainer.max_epochs",
        "4",
        "--data.batch_size",
        "16",
        "--checkpoint.every_n_steps",
        "3",
    ]
    options += ["--trainer.accumulate_grad_batches", str(accumulate)]
    whole = run_folder(recsys("fit", *options).out)
    expected = read_checkpoint(whole / "checkpoints" / "last.ckpt")

    shell = ["--trainer.default_root_dir", tmp_path / "killed", "--trainer.accelerator", "cpu"]
    process = subprocess.run(
        [sys.executable, "-c", KILLED, "fit", *options, *map(str, shell)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=180,
        capture_output=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    (last,) = (tmp_path / "killed").rglob("last.ckpt")
    assert read_checkpoint(last)["global_step"] == 15 < expected["global_step"]

    resumed = recsys("fit", *options, "--ckpt_path", last)
    assert resumed.status == 0, resumed.err
    found = read_checkpoint(last)
    assert found["global_step"] == expected["global_step"]
    for name, weight in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], weight), name


def logged_offline(world: list[str], tmp_path: Path, **env: str) -> tuple[str, bytes]:
    """Output and log of a run of its own process, whose end writes the log out."""
    options = ["--trainer.logger", "WandbLogger", "--trainer.default_root_dir", tmp_path / "runs"]
    process = command("fit", *world, *SMALL, *options, "--trainer.accelerator", "cpu", **env)
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0, out
    (log,) = tmp_path.glob("runs/wandb/offline-run-*/run-*.wandb")
    assert b"val/ndcg_10" in log.read_bytes()
    return out, log.read_bytes()


def test_weights_and_biases_by_one_flag(world: list[str], tmp_path: Path) -> None:
    out, log = logged_offline(world, tmp_path)
    assert b"recipe" in log
    run = run_folder(out)
    assert (run / "config.yaml").is_file() and (run / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.slow
def test_secrets_stay_out_of_the_run(world: list[str], tmp_path: Path) -> None:
    logged_offline(world, tmp_path, WANDB_API_KEY="canary" * 7)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"canarycanary" in path.read_bytes()]


def test_the_path_is_the_last_line_also_behind_a_progress_bar(world: list[str], tmp_path: Path) -> None:
    options = [*world[: world.index("--model.recommender")], "--model.recommender", "Popularity"]
    shell = ["--trainer.default_root_dir", tmp_path / "runs", "--trainer.accelerator", "cpu"]
    for verb, file in (("test", "metrics.json"), ("predict", "recommendations.parquet")):
        out, _ = command(verb, *options, *shell).communicate(timeout=600)
        last = Path(out.strip().splitlines()[-1])
        assert last.name == file and last.is_file()


@pytest.mark.slow
def test_runs_that_start_at_once_have_folders_of_their_own(world: list[str], tmp_path: Path) -> None:
    shell = ["--trainer.default_root_dir", tmp_path / "runs", "--trainer.accelerator", "cpu"]
    both = [command("fit", *world, *SMALL, *shell, "--seed_everything", seed) for seed in (1, 2)]
    for process, seed in zip(both, (1, 2), strict=True):
        out, _ = process.communicate(timeout=180)
        assert process.returncode == 0, out
        assert yaml.safe_load((run_folder(out) / "config.yaml").read_text())["seed_everything"] == seed
    assert len(list(tmp_path.glob("runs/*/version_*"))) == 2


def test_a_run_that_looked_at_test_says_so_for_ever(recsys: Recsys, world: list[str]) -> None:
    run = run_folder(recsys("fit", *world, *SMALL).out)
    last = ["--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt"]
    clean = json.loads(Path(recsys("test", *last).last_line).read_text())
    assert clean["looked_at_test"] is False and clean["checkpoint"].endswith("last.ckpt")
    best = recsys("test", *last[:3], run / "checkpoints" / "best.ckpt")
    again = recsys("test", *last)
    for tested in (best, again):  # to test two checkpoints of a finished run is no selection by training on
        assert json.loads(Path(tested.last_line).read_text())["looked_at_test"] is False
    assert recsys("fit", *last, "--trainer.max_epochs", "4").status == 0
    marked = recsys("test", *last)
    assert json.loads(Path(marked.last_line).read_text())["looked_at_test"] is True
    assert "WATERMARK" in marked.out


@pytest.mark.parametrize("accumulate", [1, 3])
def test_there_is_one_last_checkpoint(recsys: Recsys, world: list[str], accumulate: int) -> None:
    options = ["--checkpoint.every_n_steps", "2", "--trainer.accumulate_grad_batches", accumulate]
    run = run_folder(recsys("fit", *world, *SMALL, *options).out)
    assert {path.name for path in (run / "checkpoints").glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 2


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_measure_the_same(recsys: Recsys, world: list[str], tmp_path: Path, processes: int) -> None:
    run = run_folder(recsys("fit", *world, *SMALL).out)
    options = ["test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt"]
    one = json.loads(Path(recsys(*options).last_line).read_text())
    many = command(
        *options,
        *("--trainer.devices", processes, "--trainer.strategy", "ddp_fork", "--trainer.accelerator", "cpu"),
        *("--trainer.default_root_dir", tmp_path / "many", "--trainer.enable_progress_bar", "false"),
    )
    out, _ = many.communicate(timeout=180)
    assert many.returncode == 0, out
    several = json.loads(Path(out.strip().splitlines()[-1]).read_text())
    assert several["users"] == one["users"]
    for name, value in one.items():
        if name.startswith("test/"):
            assert several[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_two_processes_train(world: list[str], tmp_path: Path) -> None:
    process = command(
        *("fit", *world, *SMALL),
        *("--trainer.devices", 2, "--trainer.strategy", "ddp_fork", "--trainer.accelerator", "cpu"),
        *("--trainer.default_root_dir", tmp_path / "two", "--trainer.enable_progress_bar", "false"),
    )
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0, out
    content = read_checkpoint(run_folder(out) / "checkpoints" / "last.ckpt")
    assert content["global_step"] > 0 and content["state_dict"]["recommender.user"].isfinite().all()


def test_without_an_epoch_there_is_nothing_to_test(world: list[str], recsys: Recsys) -> None:
    outcome = recsys("fit", *world, "--trainer.max_epochs", "0")
    assert outcome.status == 0 and "run: " in outcome.out and "test it" not in outcome.out


def test_without_wandb_its_logger_is_refused_in_a_sentence(
    world: list[str], recsys: Recsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    outcome = recsys("fit", *world, "--trainer.logger", "WandbLogger")
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1] == "recsys: --trainer.logger WandbLogger needs wandb: pip install wandb."
