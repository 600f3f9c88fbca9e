from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from recsys_lightning.serving import messages

ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "recommend": TypeAdapter(messages.Recommend),
    "similar": TypeAdapter(messages.Similar),
    "explain": TypeAdapter(messages.Explain),
}


def refused(kind: str, value: object) -> str:
    with pytest.raises(ValidationError) as error:
        ADAPTERS[kind].validate_python(value)
    return error.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("recommend", {"requests": [{"user": "u" * 200, "k": 1000, "exclude_known": False, "exclude": ["i"] * 1000}]}),
        ("recommend", {"requests": [{"history": ["i"] * 500, "liked": [{"title": "x", "pages": 3}]}] * 100}),
        ("recommend", {"requests": [{"liked": [{"a": None, "b": [], "c": -1.5, "d": ["x"] * 100}] * 50}]}),
        ("similar", {"item": "i", "k": 1}),
        ("similar", {"metadata": {}}),
        ("explain", {"user": "u", "item": "i"}),
        ("explain", {"history": ["i"], "item": "i"}),
    ],
)
def test_what_is_within_the_bounds(kind: str, value: object) -> None:
    parsed = ADAPTERS[kind].validate_python(value)
    again = ADAPTERS[kind].validate_json(json.dumps(value))
    assert parsed == again


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("recommend", {"requests": []}, "at least 1 item"),
        ("recommend", {"requests": [{"user": "u"}] * 101}, "at most 100 items"),
        ("recommend", {"requests": [{"user": "u" * 201}]}, "at most 200 characters"),
        ("recommend", {"requests": [{"user": ""}]}, "at least 1 character"),
        ("recommend", {"requests": [{"user": 7}]}, "valid string"),
        ("recommend", {"requests": [{"user": "u", "k": 0}]}, "greater than or equal to 1"),
        ("recommend", {"requests": [{"user": "u", "k": 1001}]}, "less than or equal to 1000"),
        ("recommend", {"requests": [{"user": "u", "k": True}]}, "valid integer"),
        ("recommend", {"requests": [{"user": "u", "exclude_known": 1}]}, "valid boolean"),
        ("recommend", {"requests": [{"user": "u", "history": ["i"]}]}, "Extra inputs"),
        ("recommend", {"requests": [{"history": ["i"] * 501}]}, "at most 500 items"),
        ("recommend", {"requests": [{"liked": [{}] * 51}]}, "at most 50 items"),
        ("recommend", {"requests": [{"k": 3}]}, "Give one of `user`, `history`, `liked`"),
        ("recommend", {"requests": ["u"]}, "Give one of `user`, `history`, `liked`"),
        ("similar", {"metadata": {"a": float("nan")}}, "Input should be"),
        ("similar", {"metadata": {"a": float("inf")}}, "Input should be"),
        ("similar", {"metadata": {"a": 10**400}}, "Input should be"),
        ("similar", {"metadata": {"a": True}}, "Give a text, a number, a list of texts, or null"),
        ("similar", {"metadata": {"a": {"b": "c"}}}, "Give a text, a number, a list of texts, or null"),
        ("similar", {"metadata": {"a": "x" * 5001}}, "at most 5000 characters"),
        ("similar", {"metadata": {"a": ["x"] * 101}}, "at most 100 items"),
        ("similar", {"metadata": {str(n): "x" for n in range(51)}}, "at most 50 items"),
        ("similar", {"metadata": {"a" * 101: "x"}}, "at most 100 characters"),
        ("similar", {"item": "i", "metadata": {}}, "Extra inputs"),
        ("explain", {"item": "i"}, "Give one of `user`, `history`"),
        ("explain", {"user": "u"}, "Field required"),
    ],
)
def test_what_is_not(kind: str, value: object, message: str) -> None:
    assert message in refused(kind, value)
