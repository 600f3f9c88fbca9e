"""What a user sees where a disk is full, a folder read-only, or a process told to end: a sentence and a status."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.cli import INTERRUPTED
from recsys_lightning.errors import InputError
from recsys_lightning.tasks.ranking import Ranking
from tests.conftest import REPOSITORY, Outcome, Recsys
from tests.worlds import write_csv

ENDLESS = ["--trainer.max_epochs", "100000", "--early_stopping.patience", "100000"]
FULL = (
    r"recsys: There is no room for the checkpoint .*last\.ckpt: it needs about [\d,]+ bytes and [\d,]+ are free.*\. "
    r"The previous checkpoint is intact\. Free some space, then resume from it\."
)


@pytest.fixture
def world(tmp_path: Path) -> list[str]:
    """Options that name a small CSV file and a small network."""
    write_csv(tmp_path / "world.csv")
    return [
        *("--data", "Table", "--data.root", str(tmp_path), "--data.interactions", "world.csv"),
        *("--data.columns.timestamp", "timestamp", "--data.recipe.split", "random", "--data.batch_size", "32"),
        *("--model", "Ranking", "--model.recommender", "MF", "--model.recommender.dim", "4"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    ]


@pytest.fixture
def file_limit() -> object:
    """Files of this process may not grow beyond what is set here; the limit of a disk that is full for it."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def checkpoints(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.rglob("checkpoints/*")}


def test_a_disk_that_is_full_leaves_the_last_good_checkpoint(
    recsys: Recsys, world: list[str], tmp_path: Path, file_limit: object
) -> None:
    fitted = recsys("fit", *world, "--trainer.max_epochs", "2")
    assert fitted.status == 0, fitted.err
    found = checkpoints(tmp_path)
    before = found["last.ckpt"].read_bytes()
    assert callable(file_limit)
    file_limit(len(before) // 2)
    outcome = recsys("fit", *world, "--trainer.max_epochs", "4", "--ckpt_path", found["last.ckpt"])
    file_limit(resource.RLIM_INFINITY)
    assert outcome.status == 2 and "Traceback" not in outcome.err
    assert re.fullmatch(FULL.replace("last", "(best|last)"), outcome.err.splitlines()[-1])
    assert "but the system says: File too large." in outcome.err
    assert found["last.ckpt"].read_bytes() == before
    assert checkpoints(tmp_path) == found
    assert recsys("fit", *world, "--trainer.max_epochs", "3", "--ckpt_path", found["last.ckpt"]).status == 0


def test_a_device_without_memory_left_says_what_to_turn(
    recsys: Recsys, world: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Ranking, *_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.05 GiB. GPU 0 has 79 GiB.\nMore words.")

    monkeypatch.setattr(Ranking, "training_step", exhausted)
    outcome = recsys("fit", *world, "--trainer.max_epochs", "1")
    assert outcome.status == 2 and "Traceback" not in outcome.err
    said = outcome.err.splitlines()[-1]
    assert said.startswith("recsys: The device has no memory left (CUDA out of memory. Tried to allocate 3.05 GiB).")
    assert "batches of 32 rows, 60 users and 40 items" in said


@pytest.mark.slow
def test_a_small_disk(world: list[str], tmp_path: Path) -> None:
    """A real one, where this process may mount it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        ended = subprocess.run(command(world, disk), capture_output=True, text=True, timeout=300, env=one_thread())
        assert ended.returncode == 2, ended.stderr
        assert re.fullmatch(FULL.replace("last", "(best|last)"), ended.stderr.splitlines()[-1]), ended.stderr
        assert all(read_checkpoint(path) for name, path in checkpoints(disk).items() if name.endswith(".ckpt"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def command(world: list[str], folder: Path, *more: str) -> list[str]:
    root = ["--trainer.default_root_dir", str(folder)]
    return [sys.executable, "-m", "recsys_lightning", "fit", *world, *ENDLESS, *root, *more]


def begun(world: list[str], folder: Path, *more: str) -> subprocess.Popen[str]:
    """An endless training of its own process, which has written a checkpoint."""
    process = subprocess.Popen(
        command(world, folder, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread()
    )
    while not checkpoints(folder).get("last.ckpt"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    return process


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(recsys: Recsys, world: list[str], tmp_path: Path) -> None:
    """The training that goes on as the sentence says ends as one that was not stopped."""
    process = begun(world, tmp_path / "runs")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    said = re.fullmatch(
        r"recsys: Training was stopped in epoch (\d+), after step (\d+)\. Go on: recsys (.*)", err.splitlines()[-1]
    )
    assert said, err
    last = checkpoints(tmp_path)["last.ckpt"]
    assert read_checkpoint(last)["global_step"] == int(said[2])
    epochs = ["--trainer.max_epochs", str(int(said[1]) + 2)]
    assert recsys(*shlex.split(said[3]), *epochs).status == 0
    resumed = read_checkpoint(last)
    whole = recsys("fit", *world, *ENDLESS, *epochs)
    [folder] = re.findall(r"^run: (.*)$", whole.out, re.MULTILINE)
    expected = read_checkpoint(Path(folder) / "checkpoints" / "last.ckpt")
    assert resumed["global_step"] == expected["global_step"]
    assert all(torch.equal(resumed["state_dict"][name], value) for name, value in expected["state_dict"].items())


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_sigterm_to_one_of_two_processes_ends_both_with_a_checkpoint(
    world: list[str], tmp_path: Path, first: bool
) -> None:
    process = begun(world, tmp_path / "runs", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    other = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(process.pid if first else int(other[-1]), signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err.count("Go on: recsys fit --config") == 1
    steps = int(re.findall(r"after step (\d+)\.", err)[-1])
    assert read_checkpoint(checkpoints(tmp_path)["last.ckpt"])["global_step"] == steps


class Interrupted(Callback):
    """Ctrl-C after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The keys."""
        if trainer.global_step == self.steps:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(recsys: Recsys, world: list[str]) -> Iterator[Callable[[int], Outcome]]:
    """A training that Ctrl-C ends; Lightning makes the process deaf to it."""
    before, name = signal.getsignal(signal.SIGINT), f"{__name__}.Interrupted"
    options = [f"--trainer.callbacks+={name}", "--trainer.max_epochs=9", "--trainer.limit_train_batches=4"]
    yield lambda steps: recsys("fit", *world, *options, f"--trainer.callbacks.steps={steps}")
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_says_how_to_go_on(interrupted: Callable[[int], Outcome], tmp_path: Path) -> None:
    outcome = interrupted(6)
    assert outcome.status == INTERRUPTED and "Traceback" not in outcome.err
    said = outcome.err.splitlines()[-1]
    assert said.startswith("recsys: Training was stopped in epoch 1, after step 6. Go on: recsys fit --config ")
    assert said.endswith(f" --ckpt_path {checkpoints(tmp_path)['last.ckpt']}")


def test_ctrl_c_before_anything_is_written_leaves_nothing(
    interrupted: Callable[[int], Outcome], tmp_path: Path
) -> None:
    outcome = interrupted(0)
    assert outcome.status == INTERRUPTED
    assert outcome.err.splitlines()[-1].endswith("There is no checkpoint yet: start again.")
    assert not list((tmp_path / "runs").iterdir())


class Fails(Callback):
    """One of several processes fails in the middle of an epoch.

    Args:
        rank: of the process.
        sentence: with which it fails; it has a mistake in it where there is none.
    """

    def __init__(self, rank: int, sentence: str | None = None) -> None:
        self.rank, self.sentence = rank, sentence

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The mistake."""
        if trainer.global_step == 3 and trainer.global_rank == self.rank:
            raise ValueError("a mistake") if self.sentence is None else InputError(self.sentence)


FIRST = "recsys: Process 1 failed first, and the others with it: "


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "rank", "sentence", "status", "last"),
    [
        ("ddp", 1, "No.", 2, f"{FIRST}No."),
        ("ddp", 1, None, 1, f"{FIRST}ValueError: a mistake. Its traceback stands above."),
        ("ddp", 0, None, 1, "[rank0]: ValueError: a mistake"),
        ("ddp_fork", 1, "No.", 2, "recsys: No."),
    ],
)
def test_the_error_of_the_process_that_failed_first_is_the_last_word(
    world: list[str], tmp_path: Path, strategy: str, rank: int, sentence: str | None, status: int, last: str
) -> None:
    two = ("--trainer.devices", "2", "--trainer.strategy", strategy)
    fails = (f"--trainer.callbacks+={__name__}.Fails", f"--trainer.callbacks.rank={rank}")
    more = () if sentence is None else (f"--trainer.callbacks.sentence={sentence}",)
    env = {**one_thread(), "PYTHONPATH": str(REPOSITORY)}
    words = command(world, tmp_path / "runs", *two, *fails, *more)
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, env=env)
    assert ended.returncode == status, ended.stderr
    assert ended.stderr.rstrip().splitlines()[-1] == last and "closed by peer" not in ended.stderr


@pytest.mark.slow
def test_a_killed_process_ends_the_others_within_a_minute(world: list[str], tmp_path: Path) -> None:
    process = begun(world, tmp_path / "runs", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    other = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(other[-1]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert err.splitlines()[-1].startswith("recsys: Another process of this run ended without a word: it was killed")
    assert read_checkpoint(checkpoints(tmp_path)["last.ckpt"])["global_step"] > 0
