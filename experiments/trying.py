"""Commands as a user types them, what they leave compared, and what does not hold of it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recsys_lightning.data.root import data_root

HERE = Path(__file__).resolve().parent
LIMIT = 1800
"""Seconds of a command that trains a little; what takes longer hangs."""
CLOSE = 1e-6
"""How far figures of one and two processes may be apart."""
ABSENT = re.compile(r"^[\w-]+: .+ is missing in | needs .+: pip install ")
REFUSED = re.compile(r"score by the inner product|ranks all items together|is one process")
"""How the command line says that what is asked for cannot be had, which is no fault."""


class Wrong(Exception):
    """Something does not hold."""


class Refused(Exception):
    """Something is not to be had, for a reason."""


class Absent(Exception):
    """Data or a library are not here."""


class Cell(NamedTuple):
    """Whether something holds, None where it does not apply; and why (not)."""

    holds: bool | None
    why: str = ""


@dataclass(frozen=True)
class Recsys:
    """Runs `recsys`, each time as a process of its own.

    Attributes:
        folder: below which runs lie.
        log: file of what commands say.
        limit: seconds of a command; None for any.
    """

    folder: Path
    log: Path
    limit: float | None = LIMIT

    def __call__(self, verb: str, *words: object) -> list[str]:
        """The lines that a command prints.

        Raises:
            Wrong: it failed; says the last thing that it said.
            Refused: it says that this cannot be had.
            Absent: it says that data or a library are not here.
        """
        command = [verb, *map(str, words)]
        env = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DATA_DIR": str(self.folder)}
        process = subprocess.Popen(
            [sys.executable, "-m", "recsys_lightning", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,  # where sweeps begin the paths that they name
            env={**os.environ, **env},
            start_new_session=True,  # so that processes which it starts end with it
        )
        try:
            out, err = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            raise Wrong(f"`recsys {verb}` took more than {self.limit} seconds.") from None
        finally:
            if process.returncode != 0:  # else W&B may still be writing
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"$ recsys {shlex.join(command)}\n{out}{err}[{process.returncode}]\n\n")
        if process.returncode:
            complain(verb, process.returncode, err)
        return out.strip().splitlines()


def complain(verb: str, status: int, err: str) -> None:
    """Raise what a command that failed said last."""
    said = next(reversed(err.strip().splitlines()), "").removeprefix("recsys: ")
    if status == 2 and (ABSENT.search(said) or said.startswith(f"There is no file {data_root()}")):
        raise Absent(said)
    if status == 2 and REFUSED.search(said):
        raise Refused(said)
    raise Wrong(f"`recsys {verb}` ended with status {status}: {said or 'it said nothing'}")


def judge(column: Callable[[], None]) -> Cell:
    """A cell, whatever happens: one that breaks must not cost the others."""
    try:
        column()
        return Cell(True)
    except Absent as error:
        return Cell(None, f"not here: {error}")
    except Refused as error:
        return Cell(None, str(error))
    except Wrong as error:
        return Cell(False, str(error))
    except Exception as error:
        return Cell(False, f"{type(error).__name__}: {error}")


def logged(folder: Path, run: str) -> Any:
    """What an offline run of W&B told; W&B has no reader of its own, the tests have one."""
    if str(HERE.parent) not in sys.path:
        sys.path.append(str(HERE.parent))
    from tests.wandb_log import read_run

    [found] = (folder / "wandb").glob(f"offline-run-*-{run}")
    return read_run(found)


def apart(ours: dict[str, float | None], theirs: dict[str, Any], where: str) -> None:
    """Compare figures by name.

    Raises:
        Wrong: one is missing, or differs by more than CLOSE.
    """
    for name, value in ours.items():
        other = theirs.get(name)
        if (value is None) != (other is None) or abs((value or 0.0) - (other or 0.0)) > CLOSE:
            raise Wrong(f"{name} is {value}, {where} {other}.")


def difference(ours: Any, theirs: Any, name: str = "") -> str | None:
    """Where nested values differ in a bit; None where they do not."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = ((f"{name}.{key}", ours[key], theirs[key]) for key in ours)
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        pairs = ((f"{name}.{place}", *pair) for place, pair in enumerate(zip(ours, theirs, strict=True)))
    elif isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours, theirs)
        return None if same else name
    else:
        return None if type(ours) is type(theirs) and ours == theirs else name
    return next((found for place, one, other in pairs if (found := difference(one, other, place))), None)
