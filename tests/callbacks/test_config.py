from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_lightning.callbacks.config import redact
from tests.conftest import Recsys
from tests.worlds import write_csv


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "apikey",
        "WANDB_API_KEY",
        "token",
        "hf_token",
        "access_tokens",
        "client_secret",
        "Password",
        "password_file",
        "passwd",
        "credentials",
    ],
)
def test_what_is_called_secret_is_replaced(key: str) -> None:
    assert redact({key: "canary"}) == {key: "(redacted)"}
    assert redact({key: {"nested": "canary"}}) == {key: "(redacted)"}


def test_secrets_are_found_in_lists_and_dictionaries_however_deep() -> None:
    given = {"trainer": {"logger": [{"class_path": "W", "init_args": {"api_key": "canary", "tags": ["a", ["b"]]}}]}}
    found = redact(given)
    assert "canary" not in str(found)
    assert found["trainer"]["logger"][0]["init_args"] == {"api_key": "(redacted)", "tags": ["a", ["b"]]}
    assert given["trainer"]["logger"][0]["init_args"]["api_key"] == "canary"  # type: ignore[index]


@pytest.mark.parametrize(
    "value", [{"token": None}, {"num_tokens": 8}, {"monkey": "x", "keys": [1], "tokens_": 0 or None}, [1, "a"], 3.5]
)
def test_all_else_stays(value: Any) -> None:
    assert redact(value) == value


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    write_csv(tmp_path / "rows.csv")
    return [
        *("--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "rows.csv"),
        *("--data.recipe.split", "random", "--data.batch_size", "64"),
        *("--model", "Ranking", "--model.recommender", "MF", "--model.recommender.dim", "4"),
        *("--trainer.max_epochs", "1"),
    ]


def saved(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("config.yaml"), key=lambda path: path.stat().st_mtime_ns)
    return [yaml.safe_load(path.read_text()) for path in files]


def test_the_file_lies_beside_the_checkpoints_and_repeats_the_run(
    recsys: Recsys, options: list[str], tmp_path: Path
) -> None:
    assert recsys("fit", *options, "--seed_everything", "3").status == 0
    [config] = (tmp_path / "runs").rglob("config.yaml")
    assert (config.parent / "checkpoints" / "best.ckpt").is_file()
    assert recsys("fit", "--config", config).status == 0
    first, second = saved(tmp_path / "runs")
    assert first == second and first["seed_everything"] == 3
    assert first["data"]["init_args"]["recipe"]["split"] == "random"


def test_the_checkpoint_of_a_resumed_run_is_not_in_it(recsys: Recsys, options: list[str], tmp_path: Path) -> None:
    assert recsys("fit", *options).status == 0
    [last] = tmp_path.rglob("last.ckpt")
    assert recsys("fit", *options, "--ckpt_path", last, "--trainer.max_epochs", "2").status == 0
    assert recsys("test", *options, "--ckpt_path", last).status == 0
    configs = saved(tmp_path / "runs")
    assert len(configs) == 2 and all("ckpt_path" not in config for config in configs)


def test_values_reach_the_logger_redacted(recsys: Recsys, options: list[str], tmp_path: Path) -> None:
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(tmp_path / "logs")]
    assert recsys("fit", *options, *logger, "--trainer.logger.name", "mine").status == 0
    logged = (tmp_path / "logs" / "mine" / "version_0" / "hparams.yaml").read_text()
    assert "batch_size: 64" in logged
    assert (tmp_path / "logs" / "mine" / "version_0" / "config.yaml").is_file()
