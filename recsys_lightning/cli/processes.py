"""What is said where one of several processes fails: its error, and not what the others say of its end."""

from __future__ import annotations

import json
import re
from typing import Any

import torch.distributed as dist

from recsys_lightning import errors
from recsys_lightning.errors import InputError, NonFiniteError, OtherProcessError, linked

KEY = "recsys_lightning/failed"
"""Under which the first process that fails tells the others why."""
GONE = re.compile(r"closed by peer|reset by peer|Broken pipe|remote process exited|Connection was likely closed")
"""What collectives say in a process where another one has ended."""
OURS = {kind.__name__: kind for kind in (InputError, NonFiniteError)}


def tell_of_the_first(error: Exception) -> None:
    """Let the error of the process that failed first be the last that is printed; to be called in each that fails.

    The first one goes on with its own error. Of the others, those that have nothing new to say end in silence, and the
    one of rank 0, which the user started, names the first.

    Args:
        error: with which this process fails.

    Raises:
        InputError: the first process failed of one.
        NonFiniteError: likewise.
        OtherProcessError: it failed of something else, or was killed.
        SystemExit: another process tells.
    """
    _of_a_fork(error)
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    rank, own = dist.get_rank(), _note(error)
    follows = own["kind"] not in OURS and GONE.search(own["text"]) is not None
    if rank and follows:
        raise SystemExit(1) from error
    first = _first(own, follows)
    if first is None:
        raise OtherProcessError(
            "Another process of this run ended without a word: it was killed, as happens where memory is full."
        ) from error
    if first == own or (not rank and first["text"] == own["text"]):
        return
    if rank:
        raise SystemExit(1) from error
    said = f"Process {first['rank']} failed first, and the others with it: {first['text'].rstrip('.')}."
    kind = OURS.get(first["kind"])
    raise (kind(said) if kind else OtherProcessError(f"{said} Its traceback stands above.")) from error


def _note(error: Exception) -> dict[str, Any]:
    """Of an error, as the command line would say it."""
    ours = next((link for link in linked(error) if isinstance(link, tuple(OURS.values()))), None)
    rank = dist.get_rank()
    if ours is not None:
        kind = next(name for name, one in OURS.items() if isinstance(ours, one))
        return {"rank": rank, "kind": kind, "text": str(ours)}
    name = type(error).__name__
    return {"rank": rank, "kind": name, "text": f"{name}: {' '.join(str(error).split())}"}


def _first(own: dict[str, Any], follows: bool) -> dict[str, Any] | None:
    """The note of the first process that failed, which is this one's where there is none; None if it follows another.

    The store lies in the process of rank 0, and is gone where that has ended: the error is then this one's own.
    """
    store: Any = dist.distributed_c10d._get_default_store()
    if follows and not store.check([KEY]):
        return None
    try:
        held = store.get(KEY) if follows else store.compare_set(KEY, "", json.dumps(own))
    except RuntimeError:
        return own
    found: dict[str, Any] = json.loads(held)
    return found


def _of_a_fork(error: Exception) -> None:
    """Raise an error of ours that a forked process handed over as the text of its traceback."""
    if type(error).__name__ != "ProcessRaisedException":
        return
    names = "|".join(OURS)
    found = re.findall(rf"^{re.escape(errors.__name__)}\.({names}): (.*)\Z", str(error), re.MULTILINE | re.DOTALL)
    if found:
        name, text = found[-1]
        raise OURS[name](text.strip()) from error
