from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from recsys_lightning.callbacks.signals import ENDED, Termination, end, say_how_to_go_on


def trainer(fn: TrainerFn = TrainerFn.FITTING, **options: Any) -> Any:
    state = SimpleNamespace(fn=fn)
    known = {"received_sigterm": False, "world_size": 1, "is_global_zero": True, "current_epoch": 3, "global_step": 70}
    return SimpleNamespace(state=state, **{**known, **options})


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield Termination()
    signal.signal(signal.SIGTERM, before)


def test_a_signal_is_noted_and_nothing_else_happens(listening: Termination) -> None:
    listening.listen(trainer())
    assert not listening.asked(trainer())
    os.kill(os.getpid(), signal.SIGTERM)
    assert listening.asked(trainer())
    listening.listen(trainer())
    assert not listening.asked(trainer())


def test_a_signal_that_came_before_counts(listening: Termination) -> None:
    listening.listen(trainer(received_sigterm=True))
    assert listening.asked(trainer())


@pytest.mark.parametrize("told", [False, True])
def test_several_processes_ask_each_other(listening: Termination, told: bool) -> None:
    asked: list[bool] = []

    def decide(own: bool, all: bool) -> bool:
        asked.append(own)
        assert not all
        return True

    strategy = SimpleNamespace(reduce_boolean_decision=decide)
    listening.listen(trainer(received_sigterm=told))
    assert listening.asked(trainer(world_size=2, strategy=strategy))
    assert asked == [told]


def test_the_status_is_that_of_the_signal() -> None:
    with pytest.raises(SIGTERMException) as ended:
        end()
    assert ended.value.code == ENDED == 143


def test_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = tmp_path / "a run" / "checkpoints" / "last.ckpt"

    def said(**options: Any) -> str:
        say_how_to_go_on(trainer(**options), last)
        return capsys.readouterr().err

    assert said(is_global_zero=False) == ""
    assert said().endswith("epoch 3, after step 70. There is no checkpoint yet: start again.\n")
    last.parent.mkdir(parents=True)
    last.touch()
    assert said().endswith(f"Go on: give {last} as ckpt_path.\n")
    config = last.parent.parent / "config.yaml"
    config.touch()
    assert said().endswith(f"Go on: recsys fit --config '{config}' --ckpt_path '{last}'\n")
    assert said(fn=TrainerFn.TESTING) == "recsys: `test` was stopped and left nothing: run it again.\n"
