"""Features of one item from its record, as a server makes them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.item_features.transform import code_of, transform

SPEC: dict[str, Any] = {
    "numbers": [
        {"name": "year", "column": "year", "log": False, "mean": 2000.0, "deviation": 10.0, "gaps": True},
        {"name": "log_price", "column": "price", "log": True, "mean": 1.0, "deviation": 2.0, "gaps": False},
    ],
    "title": {"scales": [{"name": "title_words", "mean": 2.0, "deviation": 1.0}], "gaps": True},
    "categories": {
        "genres": {"codes": {"Drama": 0, "War": 1}, "hashed": 0},
        "authors": {"codes": {"Homer": 0}, "hashed": 3},
    },
}


def test_a_record_becomes_numbers_and_codes() -> None:
    record = {"title": "Up", "year": "2010", "price": "$0.00", "genres": ["War", " Drama", "War", "New"]}
    numbers, codes = transform(SPEC, record)
    assert numbers == [1.0, 0.0, -0.5, -1.0, 0.0]
    assert codes == [[0, 1], []]


@pytest.mark.parametrize("value", [None, "", "soon", float("nan"), float("inf"), True, [1], {}, 10**400])
def test_what_is_no_number_is_unknown(value: object) -> None:
    assert transform(SPEC, {"year": value, "price": value})[0] == [0, 1, 0, 0, 1]


def test_no_logarithm_of_negative_numbers() -> None:
    assert transform(SPEC, {"price": -1})[0][2] == 0


def test_far_away_is_ten_deviations() -> None:
    assert [transform(SPEC, {"year": year})[0][0] for year in (1e308, -1e308, 2101)] == [10, -10, 10]


def test_an_id_is_no_title() -> None:
    assert transform(SPEC, {"title": "0195153448", "item_id": "0195153448"})[0][3:] == [0, 1]


def test_one_text_is_one_category() -> None:
    assert transform(SPEC, {"genres": "War", "authors": "Homer"})[1] == [[1], [0]]
    assert transform(SPEC, {"genres": {"War": 1}, "authors": [None, 3, ""]})[1] == [[], []]


def test_hashed_codes_are_the_same_everywhere_and_come_after_the_others() -> None:
    kind = SPEC["categories"]["authors"]
    assert [code_of(kind, value) for value in ("Homer", "Sappho", "Hesiod", "Ovid", "\ud800")] == [0, 2, 3, 1, 3]
    assert code_of(SPEC["categories"]["genres"], "New") is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["title", "item_id", "year", "price", "genres", "authors", "x"]), values))
def test_no_record_is_an_error(record: dict[str, object]) -> None:
    numbers, codes = transform(json.loads(json.dumps(SPEC)), record)
    assert len(numbers) == 5 and all(math.isfinite(value) and abs(value) <= 10 for value in numbers)
    assert len(codes) == 2
    assert all(0 <= code < size for row, size in zip(codes, (2, 4), strict=True) for code in row)


def test_a_server_needs_neither_torch_nor_pandas() -> None:
    told = (
        "import sys, recsys_lightning.data.item_features.transform;"
        "print(*{'torch', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    assert not subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.strip()
