"""Ends a training that is told to end where it can be gone on with, and says how."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

ENDED = 128 + signal.SIGTERM
"""The exit status of a process that SIGTERM ended, as shells and schedulers know it."""
EVERY = 10
"""Several processes ask each other after so many steps whether one of them was told to end, as that takes time."""


class Termination:
    """Whether this process, or one that trains with it, was told to end by SIGTERM.

    Lightning's own handler talks to the other processes from within the signal, in the middle of whatever they are
    just saying to each other, and ends with the status of success.
    """

    def __init__(self) -> None:
        self._told = False

    def listen(self, trainer: Trainer) -> None:
        """Note the signal from now on, and whether it came before; Lightning puts the old handler back."""
        self._told = trainer.received_sigterm
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def asked(self, trainer: Trainer) -> bool:
        """Whether to end, the same on every process; to be asked where all of them are at the same step."""
        if trainer.world_size == 1:
            return self._told
        told: bool = trainer.strategy.reduce_boolean_decision(self._told, all=False)
        return told

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told = True


def end() -> None:
    """End the run as SIGTERM ends it.

    Raises:
        SIGTERMException: always.
    """
    raise SIGTERMException(ENDED)


def say_how_to_go_on(trainer: Trainer, last: Path | None) -> None:
    """Print, on the first process, how a run that was stopped can be gone on with.

    Args:
        trainer: of the run.
        last: the checkpoint to go on from; None where there is none.
    """
    if not trainer.is_global_zero or trainer.state.fn is None:
        return
    verb = trainer.state.fn.value
    if verb != "fit":
        print(f"recsys: `{verb}` was stopped and left nothing: run it again.", file=sys.stderr, flush=True)
        return
    said = f"recsys: Training was stopped in epoch {trainer.current_epoch}, after step {trainer.global_step}."
    if last is None or not last.is_file():
        print(f"{said} There is no checkpoint yet: start again.", file=sys.stderr, flush=True)
        return
    config = last.parent.parent / "config.yaml"
    words = ["recsys", "fit", "--config", str(config), "--ckpt_path", str(last)]
    how = shlex.join(words) if config.is_file() else f"give {last} as ckpt_path."
    print(f"{said} Go on: {how}", file=sys.stderr, flush=True)
