from __future__ import annotations

import pytest

from recsys_lightning.cli.own_options import OwnOptions, whole_number
from recsys_lightning.errors import InputError


def test_own_options_are_told_from_others_and_are_not_abbreviated() -> None:
    parser = OwnOptions("--to", "--seed")
    parser.add_argument("--json", action="store_true")
    own, rest = parser.read(["run", "--to", "a", "--data.root=x", "--t", "b", "--json", "--help"])
    assert vars(own) == {"to": "a", "seed": None, "json": True}
    assert rest == ["run", "--data.root=x", "--t", "b", "--help"]


@pytest.mark.parametrize("words", [["--to"], ["--to", "--seed", "3"], ["--json=yes"]])
def test_a_value_that_is_missing_or_too_many_is_named(words: list[str]) -> None:
    parser = OwnOptions("--to", "--seed")
    parser.add_argument("--json", action="store_true")
    with pytest.raises(InputError, match=rf"^{words[0].partition('=')[0]} is given without a value, or with one too"):
        parser.read(words)


def test_whole_numbers() -> None:
    assert (whole_number("k", "7", 1), whole_number("port", "0", 0, 9)) == (7, 0)
    for text in ("0", "-1", "1.5", "", "ten", "\u00b2"):
        with pytest.raises(InputError, match=rf"--k is {text}; it must be a whole number of at least 1\."):
            whole_number("k", text, 1)
    with pytest.raises(InputError, match=r"--port is 10; it must be a whole number from 0 to 9\."):
        whole_number("port", "10", 0, 9)
