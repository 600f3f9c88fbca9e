from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_lightning import host
from recsys_lightning.cli import INTERRUPTED, estimate
from recsys_lightning.cli.measure import Asked, Stopwatch
from recsys_lightning.models import EASE, MF
from recsys_lightning.reports.estimate import Plan
from tests import worlds
from tests.conftest import Recsys

DATA = ("--data", "MovieTweetings", "--data.batch_size", "8192")
MODEL = ("--model", "Ranking", "--model.recommender")
QUICK = ("--seconds", "0.05", "--trainer.accelerator", "cpu")


@pytest.fixture
def told(recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is estimated of a model, as JSON; nothing is left behind."""
    monkeypatch.setenv("RECSYS_DATA", str(Path("data").absolute()))
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there"))

    def tell(model: str, *words: str) -> dict[str, Any]:
        outcome = recsys("estimate", *DATA, *MODEL, model, *QUICK, "--json", *words)
        assert outcome.status == 0, outcome.err
        assert not list(tmp_path.glob("here/*")) and not list(tmp_path.glob("there/recsys*"))
        found: dict[str, Any] = json.loads(outcome.out)
        return found

    return tell


def sizes(found: dict[str, Any]) -> tuple[int, int]:
    """Users and items."""
    [numbers] = re.findall(r"([\d,]+) users, ([\d,]+) items", found["data"])
    users, items = (int(number.replace(",", "")) for number in numbers)
    return users, items


def test_a_training_is_foretold_and_leaves_nothing(told: Any) -> None:
    found = told("MF", "--trainer.max_epochs=7", "--trainer.check_val_every_n_epoch=2", "--trainer.logger=WandbLogger")
    assert found["plan"] == {"steps": 7, "batches": 1, "validations": 0.5, "epochs": 7}
    times, memory = found["times"], found["memory"]
    parts = times["step"]["wall"] * 7 + times["validation"]["wall"] / 2
    assert times["epoch"]["wall"] >= 0.99 * parts > 0
    assert found["total"]["wall"] == pytest.approx(times["start"]["wall"] + 7 * times["epoch"]["wall"])
    numbers = 4 * 64 * sum(sizes(found))
    assert memory["  of it parameters"] == memory["  of it gradients"] == numbers
    assert memory["  of it the optimizer's state"] == 2 * numbers + 2 * 4
    assert found["fits"] and found["peak"] >= memory["program and libraries"]
    assert "MF" in found["model"] and "Measured over" in found["notes"][-1]


def test_devices_share_the_steps_and_words_say_so(recsys: Recsys) -> None:
    words = ("--trainer.devices=3", "--trainer.strategy=ddp", "--trainer.max_steps=8")
    outcome = recsys("estimate", *DATA, *MODEL, "MF", *QUICK, *words)
    assert outcome.status == 0, outcome.err
    assert "MF on movietweetings" in outcome.out and "available: fits" in outcome.out
    assert "3 in an epoch" in outcome.out and "3 epochs and the start" in outcome.out
    assert "Measured on one of 3 devices" in outcome.out


def test_a_closed_form_is_solved(told: Any) -> None:
    found = told("EASE")
    assert found["plan"] is None and found["times"] is None
    assert found["memory"]["  of it what stays"] == 4 * sizes(found)[1] ** 2
    assert found["solve"]["solving"]["wall"] > 0 and found["total"]["wall"] > 0


def test_parameters_that_do_not_fit_are_refused_before_they_are_made(
    recsys: Recsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "available", lambda: 10**9)
    outcome = recsys("estimate", *DATA, *MODEL, "MF", "--model.recommender.dim=100000", *QUICK)
    assert outcome.status == 2 and "MF: its parameters" in outcome.err and "smaller dim" in outcome.err


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_training_that_runs_out_of_memory_names_what_to_turn(
    recsys: Recsys, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(MF, "encode", fail)
    outcome = recsys("estimate", *DATA, *MODEL, "MF", *QUICK)
    assert outcome.status == 2 and "does not fit in the memory of cpu" in outcome.err
    assert "data.batch_size" in outcome.err and "data.eval_batch_size" in outcome.err


def test_ctrl_c_is_not_told_how_to_go_on(recsys: Recsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Stopwatch, "on_train_batch_end", stop)
    before = signal.getsignal(signal.SIGINT)
    outcome = recsys("estimate", *DATA, *MODEL, "MF", *QUICK)
    signal.signal(signal.SIGINT, before)  # Lightning makes the process deaf to it
    assert (outcome.status, outcome.err) == (INTERRUPTED, "recsys: interrupted\n")
    assert not list(tmp_path.glob("recsys*"))


@pytest.mark.parametrize("seconds", ["0", "-1", "many", "nan", "1e9"])
def test_seconds_are_checked(recsys: Recsys, seconds: str) -> None:
    outcome = recsys("estimate", "--config", "x.yaml", f"--seconds={seconds}")
    assert outcome.status == 2 and f"--seconds is {seconds}" in outcome.err


def test_the_whole_plan() -> None:
    plan = Plan(100, 10, 1.0, None)
    whole = estimate._whole
    assert whole(plan, Asked(every=1, epochs=5, steps=None, devices=1)) == Plan(100, 10, 1.0, 5)
    assert whole(plan, Asked(every=4, epochs=None, steps=None, devices=3)) == Plan(34, 4, 0.25, None)
    assert whole(plan, Asked(every=None, epochs=5, steps=250, devices=1)) == Plan(100, 10, 1.0, 3)


def test_advice_is_of_what_takes_most() -> None:
    class Cli:
        asked = Asked(every=1, epochs=1, steps=None, devices=1)

    memory = {"program and libraries": 1, "a validation, on top": 9}
    [note] = estimate._notes(Cli(), memory, peak=9, free=10)
    assert note == "Memory is tight. A validation, on top is most of it: take a smaller data.eval_batch_size."
    assert not list(estimate._notes(Cli(), memory, peak=7, free=10))


def test_only_large_inverses_are_reckoned(monkeypatch: pytest.MonkeyPatch) -> None:
    schema, views = worlds.blocks(40, 300)
    assert estimate.seconds_of_solving(EASE(schema), views) is None
    monkeypatch.setattr("recsys_lightning.models.ease.BLOCK", 64)
    seconds = estimate.seconds_of_solving(EASE(schema), views)
    assert seconds is not None and seconds > 0
    assert estimate.seconds_of_solving(MF(schema), views) is None


def test_a_long_solving_is_not_waited_for(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "seconds_of_solving", lambda model, views: 500.0)
    found = told("EASE")
    assert found["solve"] == {"solving": {"wall": 500.0, "cpu": 500.0}} and "not solved" in found["notes"][0]
    assert found["memory"]["matrix"] == 4 * sizes(found)[1] ** 2
    needed = sum(found["memory"][part] for part in ("matrix", "rows", "blocks"))
    # below the sum where the process of the tests gave memory back meanwhile
    assert 0 < needed < found["peak"] <= sum(found["memory"].values())
