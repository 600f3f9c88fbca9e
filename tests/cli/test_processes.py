"""What each of several processes says, one after the other in this one; `test_faults.py` has real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
import torch.distributed as dist

from recsys_lightning.cli.processes import KEY, tell_of_the_first
from recsys_lightning.errors import InputError, NonFiniteError, OtherProcessError

CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")
SAID = "Process 1 failed first, and the others with it: "


class Group:
    """A process group of three, of which this process is each in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.store = dist.HashStore()
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: 3)
        monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: self.store)

    def fails(self, rank: int, error: Exception) -> None:
        self.patch.setattr(dist, "get_rank", lambda: rank)
        fail(error)


def fail(error: Exception) -> None:
    """As a command does that fails."""
    tell_of_the_first(error)
    raise error


def says_its_own(process: Callable[[Exception], None], error: Exception) -> None:
    """Whether a process ends with its error, and with no word more."""
    with pytest.raises(type(error)) as raised:
        process(error)
    assert raised.value is error and raised.value.__cause__ is error.__cause__


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    return Group(monkeypatch)


@pytest.mark.parametrize("error", [InputError("No."), ValueError("a mistake"), CLOSED])
def test_a_process_by_itself_says_what_it_says(error: Exception) -> None:
    says_its_own(fail, error)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (InputError("No file."), InputError, f"{SAID}No file."),
        (NonFiniteError("NaN in step 3."), NonFiniteError, f"{SAID}NaN in step 3."),
        (ValueError("a\nmistake"), OtherProcessError, f"{SAID}ValueError: a mistake. Its traceback stands above."),
    ],
)
def test_the_first_process_names_the_one_that_failed_first(
    group: Group, error: Exception, kind: type[Exception], said: str
) -> None:
    says_its_own(partial(group.fails, 1), error)
    for other in (CLOSED, KeyError("another")):
        with pytest.raises(SystemExit) as ended:
            group.fails(2, other)
        assert ended.value.code == 1
        with pytest.raises(kind) as raised:
            group.fails(0, other)
        assert str(raised.value) == said and raised.value.__cause__ is other


def test_an_error_of_ours_is_known_by_what_it_led_to(group: Group) -> None:
    wrapped = RuntimeError("while parsing")
    wrapped.__cause__ = InputError("No file.")
    says_its_own(partial(group.fails, 1), wrapped)
    assert json.loads(group.store.get(KEY)) == {"rank": 1, "kind": "InputError", "text": "No file."}


def test_where_all_fail_alike_the_first_process_says_it_as_its_own(group: Group) -> None:
    says_its_own(partial(group.fails, 1), InputError("No file."))
    with pytest.raises(SystemExit):
        group.fails(2, InputError("No file."))
    says_its_own(partial(group.fails, 0), InputError("No file."))


def test_what_follows_from_an_end_is_nobodys_error(group: Group) -> None:
    with pytest.raises(SystemExit):
        group.fails(1, CLOSED)
    assert not group.store.check([KEY])
    with pytest.raises(OtherProcessError, match="ended without a word: it was killed"):
        group.fails(0, CLOSED)


def test_a_process_whose_first_one_has_ended_tells_itself(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def compare_set(self, *_: str) -> bytes:
            raise dist.DistNetworkError("Broken pipe")

    monkeypatch.setattr(group, "store", Gone())
    says_its_own(partial(group.fails, 1), ValueError("a mistake"))
    with pytest.raises(SystemExit):
        group.fails(1, CLOSED)


def test_a_forked_process_hands_its_error_over_as_a_text() -> None:
    class ProcessRaisedException(Exception):
        pass

    text = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n"
    for last, kind in (("InputError: No file.\nNot here.", InputError), ("NonFiniteError: NaN.", NonFiniteError)):
        with pytest.raises(kind) as raised:
            tell_of_the_first(ProcessRaisedException(f"{text}  File\nrecsys_lightning.errors.{last}\n"))
        assert str(raised.value) == last.partition(": ")[2]
    says_its_own(fail, ProcessRaisedException(f"{text}ValueError: a mistake\n"))
