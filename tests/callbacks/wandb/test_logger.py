from __future__ import annotations

from pathlib import Path

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from recsys_lightning.callbacks.wandb.logger import TolerantWandbLogger, tolerated
from tests.wandb_log import read_run


@pytest.fixture
def logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TolerantWandbLogger:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    return TolerantWandbLogger.of(WandbLogger(project="mine", save_dir=tmp_path, offline=True), "fit")


def test_it_logs_as_any_other_and_ends_with_the_trainer(logger: TolerantWandbLogger, tmp_path: Path) -> None:
    logger.log_metrics({"val/x": 1.0}, step=3)
    logger.log_hyperparams({"a": {"b": 2}})
    name = logger.version
    logger.finalize("success")
    assert wandb.run is None and logger.version == name and logger.name == "mine"
    [folder] = tmp_path.glob("wandb/offline-run-*")
    run = read_run(folder)
    assert run.config["a"] == {"b": 2} and run.job == "fit" and run.exit_code == 0
    assert [row["val/x"] for row in run.history] == [1.0]
    logger.finalize("success")
    assert wandb.run is None


def test_the_id_is_known_before_the_run_starts_and_an_agent_chooses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else processes that are forked before would put what they leave into different folders."""
    assert len(str(TolerantWandbLogger.of(WandbLogger(offline=True), "fit").version)) == 8
    assert TolerantWandbLogger.of(WandbLogger(offline=True, version="mine"), "fit").version == "mine"
    monkeypatch.setenv("WANDB_RUN_ID", "swept")
    assert TolerantWandbLogger.of(WandbLogger(offline=True), "fit").version == "swept"


def test_a_run_that_failed_says_so(logger: TolerantWandbLogger, tmp_path: Path) -> None:
    logger.log_metrics({"val/x": 1.0})
    logger.finalize("failed")
    [folder] = tmp_path.glob("wandb/offline-run-*")
    assert read_run(folder).exit_code == 1


def test_a_run_that_cannot_start_goes_on_without_wandb(
    logger: TolerantWandbLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = wandb.init

    def unreachable(**options: object) -> object:
        if options.get("mode") != "disabled":
            raise wandb.errors.CommError("The service did not answer.\nDetails")
        return whole(**options)

    monkeypatch.setattr(wandb, "init", unreachable)
    with pytest.warns(
        UserWarning, match="not told of this run, which goes on without it: The service did not answer"
    ) as said:
        assert logger.experiment is logger.experiment
        logger.log_metrics({"val/x": 1.0}, step=0)
        logger.log_table("t", ["a"], [[1]])
        logger.log_hyperparams({"a": 1})
        assert isinstance(logger.version, str) and logger.version
        logger.finalize("success")
    assert len(said) == 1 and not list(tmp_path.glob("wandb/*run*"))


def test_what_is_refused_is_said_in_a_sentence() -> None:
    with pytest.warns(UserWarning, match=r"^Weights & Biases was not told the news: no room\.$"), tolerated("the news"):
        raise OSError("no room.\nat line 3")
    with pytest.warns(UserWarning, match="not told the news: ValueError"), tolerated("the news"):
        raise ValueError
    with pytest.raises(KeyboardInterrupt), tolerated("the news"):
        raise KeyboardInterrupt
