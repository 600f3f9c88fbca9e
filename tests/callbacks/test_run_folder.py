from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from recsys_lightning.callbacks.run_folder import run_folder
from tests.tasks.test_base import trainer


def test_without_a_logger_it_is_the_root(tmp_path: Path) -> None:
    assert run_folder(trainer(tmp_path)) == tmp_path


@pytest.mark.parametrize(("version", "folder"), [(None, "version_0"), (7, "version_7"), ("mine", "mine")])
def test_with_a_logger_it_is_the_loggers_own(tmp_path: Path, version: int | str | None, folder: str) -> None:
    logger = CSVLogger(tmp_path / "logs", name="world", version=version)
    made = trainer(tmp_path, logger=logger)
    assert run_folder(made) == tmp_path / "logs" / "world" / folder == Path(logger.log_dir)


def test_the_first_logger_decides(tmp_path: Path) -> None:
    loggers = [CSVLogger(tmp_path, name="first"), CSVLogger(tmp_path, name="second")]
    assert run_folder(trainer(tmp_path, logger=loggers)) == tmp_path / "first" / "version_0"


def test_a_logger_without_a_folder_writes_below_the_root(tmp_path: Path) -> None:
    class Nowhere(CSVLogger):
        @property
        def save_dir(self) -> None:  # type: ignore[override]
            return None

    found = run_folder(trainer(tmp_path, logger=Nowhere(tmp_path / "unused", name="online", version="abc")))
    assert found == tmp_path / "online" / "abc"


def test_every_process_is_told_that_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(tmp_path)
    monkeypatch.setattr(made.strategy, "broadcast", lambda path: f"{path}/of the first")
    assert run_folder(made) == tmp_path / "of the first"
