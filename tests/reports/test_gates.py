from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from recsys_lightning.reports.gates import associations, gate_section, gate_table, spearman, spreads

N = 40
NUMBERS = st.lists(st.integers(-5, 5), min_size=3, max_size=20)


def table(seed: int = 0, noise: float = 0.0) -> pd.DataFrame:
    """Gates of items that fall with reviews, and of users that are all the same."""
    random = np.random.default_rng(seed)
    reviews = np.arange(N) % 10
    item = gate_table("item", 0.9 - reviews / 20 + noise * random.normal(size=N), np.arange(N), reviews)
    return pd.concat([item, gate_table("user", np.full(6, 0.5), np.arange(6))], ignore_index=True)


def test_spreads_are_over_everything_and_quarters_of_it() -> None:
    [everything, *quarters, users] = [entry for entry in spreads([table()]) if entry.over != "users"][:6]
    values = 0.9 - (np.arange(N) % 10) / 20
    assert everything == ("item", "all items", N, pytest.approx(values.mean()), pytest.approx(values.std()))
    assert [entry.over for entry in quarters] == [
        "items with 0 to 9 positives",
        "items with 10 to 19 positives",
        "items with 20 to 29 positives",
        "items with 30 to 39 positives",
    ]
    assert [entry.mean for entry in quarters] == pytest.approx([values[:10].mean()] * 4)
    assert users[:5] == ("user", "all users", 6, 0.5, 0.0)


def test_seeds_are_averaged_and_their_difference_is_no_spread() -> None:
    higher = table().assign(value=lambda rows: rows["value"] + 0.1)
    one, two = spreads([table()])[0], spreads([table(), higher])[0]
    assert two.mean == pytest.approx(one.mean + 0.05)
    assert two.sd == pytest.approx(one.sd)


def test_what_gates_go_with() -> None:
    reviews, degree, rows = associations([table(), table(1, noise=0.1)])
    assert (reviews.gate, reviews.against, reviews.number) == ("item", "reviews", N)
    assert reviews.low == pytest.approx(-1.0) and reviews.low < reviews.mean < reviews.high < 0
    assert degree.against == "positives" and abs(degree.mean) < 0.5
    assert rows == ("user", "rows", 6, None, None, None)  # a constant goes with nothing


@given(NUMBERS, st.randoms())
def test_spearman_is_the_correlation_of_ranks(x: list[int], random: object) -> None:
    y = list(x)
    random.shuffle(y)  # type: ignore[attr-defined]
    found = spearman(np.array(x, float), np.array(y, float))
    if len(set(x)) < 2:
        assert found is None
        return
    assert found == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    assert spearman(np.array(x, float), np.exp(np.array(x, float))) == pytest.approx(1.0)


def test_section() -> None:
    text = gate_section({"hybrid": [table()], "text only": [table(1)]})
    assert text.startswith("## Gates\n\n") and text.index("### hybrid") < text.index("### text only")
    assert "| item | all items | 40 | 0.6750 | 0.1436 |" in text
    assert "| item | reviews | 40 | -1.0000 | -1.0000 to -1.0000 |" in text
    assert "| user | rows | 6 | \N{EN DASH} |  |" in text
