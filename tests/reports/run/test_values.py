from __future__ import annotations

from pathlib import Path

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.values import Values, read_json

FILE = Path("diagnostics.json")


def test_what_is_there_is_found_and_what_is_not_is_absent() -> None:
    values = Values({"a": {"b": [1, 2.5, None, float("nan")]}, "c": "x", "d": True}, FILE)
    assert [entry.number() for entry in values["a"]["b"]] == [1.0, 2.5, None, None]
    assert values["c"].text() == "x" and values["d"].flag()
    assert values["gone"]["further"].number() is None and values["gone"].text() == ""
    assert list(values["gone"]) == [] and list(values["gone"].items()) == []
    assert not values["gone"] and values["a"]


@pytest.mark.parametrize(
    ("value", "read", "said"),
    [
        ({"a": [{"b": "x"}]}, lambda v: next(iter(v["a"]))["b"].number(), 'a[0].b is "x", and must be a number'),
        ({"a": True}, lambda v: v["a"].number(), "a is true, and must be a number"),
        ({"a": 10**400}, lambda v: v["a"].number(), "000..., and must be a number"),
        ({"a": 1.5}, lambda v: v["a"].whole(), "a is 1.5, and must be a whole number"),
        ({"a": [1]}, lambda v: v["a"]["b"], "a is [1], and must be an object"),
        ({"a": {"b": 1}}, lambda v: list(v["a"]), 'a is {"b": 1}, and must be a list'),
        ({"a": [1, None]}, lambda v: v["a"].numbers(), "a[1] is null, and must be a number"),
        ({"a": {}}, lambda v: v["a"]["b"].needed(), "a.b is null, and must be a number"),
        ({"a": 1}, lambda v: v["a"].flag(), "a is 1, and must be true or false"),
        ({"a": {}}, lambda v: v["a"].text(), "a is {}, and must be a text"),
        (["x" * 99], lambda v: list(v.items()), "..., and must be an object"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(value: object, read: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(Values(value, FILE))  # type: ignore[operator]
    assert str(caught.value).startswith("diagnostics.json is damaged: ") and said in str(caught.value)


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert not read_json(tmp_path / "shots.json")


@pytest.mark.parametrize("text", ['{"a": 1,\n "b"', "", "[1]", "3", '"x"', "\ufeff{}"])
def test_files_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "shots.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"shots\.json is damaged"):
        read_json(tmp_path / "shots.json")


def test_a_damaged_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "shots.json").write_text('{"a": 1,\n "b"')
    with pytest.raises(InputError, match="line 2, column"):
        read_json(tmp_path / "shots.json")
    (tmp_path / "shots.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "shots.json")


@pytest.mark.parametrize("text", ['{"a": ' + "9" * 5000 + "}", "[" * 100_000])
def test_what_no_program_could_read_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "shots.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "shots.json")
