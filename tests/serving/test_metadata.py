from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.item_features.transform import transform
from recsys_lightning.serving.metadata import LONGEST, understand

SCALE = {"mean": 0.5, "deviation": math.pi}
SPEC: dict[str, Any] = {
    "numbers": [
        {"column": "pages", "log": False, "gaps": True, **SCALE},
        {"column": "votes", "log": True, "gaps": True, **SCALE},
    ],
    "title": {"scales": [{"name": "title_words", **SCALE}], "gaps": True},
    "categories": {"genre": {"codes": {"War": 0, "Drama": 1}, "hashed": 0}, "cast": {"codes": {}, "hashed": 3}},
}


@pytest.mark.parametrize(
    ("record", "anything", "unknown"),
    [
        ({}, False, []),
        ({"pages": None, "genre": [], "title": " ", "votes": "n/a", "cast": ""}, False, []),
        ({"pages": "$12.99"}, True, []),
        ({"pages": 0}, True, []),
        ({"pages": "many", "votes": -1}, False, ["pages: many", "votes: -1"]),
        ({"pages": ["1"]}, False, ["pages: ['1']"]),
        ({"genre": "War"}, True, []),
        ({"genre": ["SciFi", " Drama ", "SciFi", ""]}, True, ["genre: SciFi"]),
        ({"genre": 5}, False, ["genre: 5"]),
        ({"cast": ["Anybody"]}, True, []),
        ({"title": "Dune"}, True, []),
        ({"title": 3}, False, ["title: 3"]),
        ({"genre": "x" * 5000}, False, ["genre: " + "x" * LONGEST]),
    ],
)
def test_what_is_understood(record: dict[str, Any], anything: bool, unknown: list[str]) -> None:
    assert understand(SPEC, record) == (anything, unknown)


CELLS = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.sampled_from(["War", " Drama", "3", "-2", "nan", "1,5"]),
    st.floats(-1e15, 1e15),
    st.lists(st.one_of(st.text(max_size=3), st.just("War")), max_size=3),
)


@given(st.dictionaries(st.sampled_from(["pages", "votes", "title", "genre", "cast"]), CELLS))
def test_something_is_understood_exactly_where_it_makes_features(record: dict[str, Any]) -> None:
    assert understand(SPEC, record).anything == (transform(SPEC, record) != transform(SPEC, {}))
