from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.item_features.titles import statistics, title_of


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("The Hunger Games (The Hunger Games, #1)", [7, 39, 29 / 7, 6, 1, 0, 1]),
        ("Heat (1995)", [1, 4, 4, 4, 0, 0, 0]),  # the year is another column
        ("2001: A Space Odyssey", [4, 21, 17 / 4, 7, 1, 1, 0]),
        ("L'Étranger", [1, 10, 10, 10, 0, 0, 0]),
        (" ... ", [0, 3, 0, 0, 0, 0, 0]),
    ],
)
def test_numbers_of_a_title(title: str, told: list[float]) -> None:
    assert list(statistics(title).values()) == pytest.approx(told)


def test_runs_of_spaces_take_no_time() -> None:
    start = time.perf_counter()
    assert statistics(f"a{' ' * 50_000}b")["title_words"] == 2
    assert statistics(f"Heat{' ' * 50_000}(1995)")["title_characters"] == 4
    assert time.perf_counter() - start < 1


@given(st.text())
def test_every_text_has_finite_numbers(title: str) -> None:
    found = statistics(title)
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    assert found["title_mean_word"] <= found["title_longest_word"] <= found["title_characters"]


def test_an_id_in_place_of_a_title_is_none() -> None:
    assert [title_of(" Up ", "1"), title_of("1", "1"), title_of(None, None), title_of(7, "1")] == ["Up", "", "", ""]
