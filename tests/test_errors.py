from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recsys_lightning.errors import InputError, NonFiniteError, extra, linked


def test_parsers_do_not_take_them_for_their_own() -> None:
    """jsonargparse turns a ValueError or TypeError of a class that it makes into a complaint about its option."""
    assert not issubclass(InputError, ValueError | TypeError)
    assert issubclass(NonFiniteError, ArithmeticError)


def test_what_led_to_an_error_is_found_whichever_way_it_was_raised() -> None:
    try:
        try:
            try:
                raise KeyError
            except KeyError:
                raise ValueError  # noqa: B904
        except ValueError as error:
            raise InputError from error
    except InputError as error:
        assert [type(link) for link in linked(error)] == [InputError, ValueError, KeyError]


def test_a_library_that_is_missing_or_broken_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extra("sys", "This") is sys
    monkeypatch.syspath_prepend(tmp_path)
    for name, content, said in (
        ("missing_one", None, "This needs missing_one: pip install recsys-lightning[serve]."),
        ("needing_one", "import missing_one", "This needs needing_one, and that needs missing_one: pip install"),
        ("broken_one", "raise OSError('no libgomp\\n.so')", r"cannot be imported \(no libgomp .so\). Install it anew"),
        ("silent_one", "assert False", r"cannot be imported \(AssertionError\)"),
    ):
        if content is not None:
            (tmp_path / f"{name}.py").write_text(content)
        with pytest.raises(InputError, match=said.replace("[", r"\[")):
            extra(name, "This", "serve")
    with pytest.raises(InputError, match=r"pip install missing_one\.$"):
        extra("missing_one", "This")
