"""What all tests share: a quiet, isolated place to run in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("RECSYS_DATA", REPOSITORY.parent / "shared" / "data")).resolve()


@pytest.fixture(autouse=True, scope="session")
def _quiet_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the session, the embedded data, one thread, no network for W&B."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RECSYS_DATA", str(REPOSITORY / "data"))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        torch.set_num_threads(1)
        yield


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's seed is 0, and what a test makes of it is forgotten."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.setenv("PL_SEED_WORKERS", "0")


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Executor]:
    """A process that may fork, as it has not started any threads; of all tests, as to start one takes seconds."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if not REAL_DATA.is_dir() or REAL_DATA == REPOSITORY / "data":
        pytest.skip("real data are not here: put them in a folder and name it in RECSYS_DATA")
    return REAL_DATA


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.strip().splitlines()[-1]


Recsys = Callable[..., Outcome]


@pytest.fixture(scope="session")
def _lightning() -> None:
    """Imported before a test captures what is printed: Lightning's log keeps the stream that it finds."""
    import lightning.pytorch  # noqa: F401


@pytest.fixture
def recsys(
    _lightning: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Recsys:
    """Runs `recsys` in this process, with its runs below the test's own folder."""

    def run(*words: object) -> Outcome:
        from recsys_lightning.cli import main

        monkeypatch.setattr("sys.argv", ["recsys"])
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        arguments = [str(word) for word in words]
        if arguments and arguments[0] in ("fit", "validate", "test", "predict", "floors") and len(arguments) > 2:
            arguments += ["--trainer.default_root_dir", str(tmp_path / "runs")]
            arguments += ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as end:  # what jsonargparse raises
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run
