from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import Interval
from recsys_lightning.reports.ablation import (
    AMONG_COLD,
    Line,
    Training,
    added,
    beside,
    compare,
    quarters,
    report,
    training_section,
    without,
)

USERS = 200


def values(gain: float = 0.0, seed: int = 0, cold: float | None = None) -> pd.DataFrame:
    """Values of users with 1 to 100 items; a gain comes on top of what all tables share, but for a little noise."""
    shared, noise = np.random.default_rng(99), np.random.default_rng(seed)
    table = pd.DataFrame({"user_id": [f"u{n}" for n in range(USERS)], "items": 1 + np.arange(USERS) // 2})
    table["ndcg_10"] = shared.random(USERS) / 2 + gain + noise.normal(0, 0.01, USERS)
    if cold is not None:
        table[f"{AMONG_COLD}ndcg_10"] = table["ndcg_10"] + cold
    return table


def lines(base: pd.DataFrame, other: pd.DataFrame) -> list[Line]:
    return compare("genres", ("base", [base]), {"off": [other]}, {"off": without("genre")}, "ndcg_10")


@pytest.mark.parametrize(
    ("gain", "verdict", "useful"),
    [(-0.1, "genre helps", True), (0.0, "genre: no difference shown", False), (0.1, "genre does harm", False)],
)
def test_the_verdict_on_what_was_taken_away(gain: float, verdict: str, useful: bool) -> None:
    [base, off, *_] = lines(values(), values(gain, seed=1))
    assert base.verdict == "base" and base.difference is None
    assert (off.verdict, off.useful, off.users) == (verdict, useful, USERS)
    assert off.difference is not None
    assert off.difference.mean == pytest.approx(gain, abs=0.005)
    assert off.difference.mean == pytest.approx(off.mean - base.mean)


def test_verdicts_on_what_was_added_and_on_other_models() -> None:
    worse, equal, better = (Interval(mean, mean - 0.1, mean + 0.1) for mean in (-1.0, 0.0, 1.0))
    assert [added("x").of(found) for found in (worse, equal, better)] == [
        "x does harm",
        "x: no difference shown",
        "x helps",
    ]
    assert [beside("A", "B").of(found) for found in (worse, equal, better)] == [
        "A beats B",
        "A against B: no difference shown",
        "B beats A",
    ]
    assert (added("x").hoped, without("x").hoped, beside("A", "B").hoped) == (1, -1, -1)


def test_quarters_by_activity_hold_each_user_once() -> None:
    quarters = [line for line in lines(values(), values()) if line.variant == "off"][1:]
    assert [line.over for line in quarters] == [
        "users with 1 to 25 items",
        "users with 26 to 50 items",
        "users with 51 to 75 items",
        "users with 76 to 100 items",
    ]
    assert sum(line.users for line in quarters) == USERS


def test_an_effect_on_active_users_only_is_found_there() -> None:
    other = values(seed=1)
    other.loc[other["items"] > 75, "ndcg_10"] -= 0.1
    found = [line.verdict for line in lines(values(), other) if line.variant == "off"]
    assert found[1:] == [*["genre: no difference shown"] * 3, "genre helps"]


def test_users_of_one_activity_are_one_group() -> None:
    base = values().assign(items=7)
    assert {line.over for line in lines(base, base)} == {"all users", "users with 7 to 7 items"}


def test_users_are_paired_by_their_ids() -> None:
    shuffled = values().sample(frac=1, random_state=0)
    for line in lines(values(), shuffled):
        if line.difference is not None:
            assert line.difference == (0, 0, 0)


def test_cold_figures_take_the_place_of_quarters() -> None:
    found = lines(values(cold=0.2), values(cold=0.3))
    assert [line.over for line in found] == ["all users"] * 2 + ["all users, cold items alone"] * 2
    assert found[1].difference == (0, 0, 0)
    assert found[3].difference is not None and found[3].difference.mean == pytest.approx(0.1)


def test_what_has_no_seeds_stands_beside_each() -> None:
    base = [values(seed=seed) for seed in range(3)]
    verdicts = {"off": without("x")}
    once = compare("x", ("base", base), {"off": [values(seed=7)]}, verdicts, "ndcg_10")
    thrice = compare("x", ("base", base), {"off": [values(seed=7)] * 3}, verdicts, "ndcg_10")
    assert once == thrice
    assert once[0].mean == pytest.approx(np.mean([table["ndcg_10"].mean() for table in base]))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="tested different users"):
        lines(values(), values().iloc[1:])
    with pytest.raises(InputError, match="no metric map_3 of users; there are ndcg_10"):
        compare("x", ("base", [values()]), {}, {}, "map_3")


def test_report() -> None:
    found = lines(values(), values(-0.1, seed=1))
    found += compare("weight", ("base", [values()]), {"w": [values(seed=2)]}, {"w": added("weight")}, "ndcg_10")
    text = report("Ablation", found, "ndcg_10", 3, "Base: as it is.")
    assert text.startswith("# Ablation\n\nBase: as it is.\n\nndcg_10 on test by full ranking, the mean over 3 seeds.")
    assert "Chance alone lets about 0.5 of these 10 intervals" in text
    assert "| genres | off | all users | 200 |" in text and "| genre helps |" in text
    [failure] = text.partition("## What does not help")[2].strip().splitlines()
    assert failure.startswith("- weight: no difference shown (weight: all users; users with 1 to 25 items; ")
    assert "intervals know nothing of other trainings" in report("Ablation", found, "ndcg_10", 1)


def test_a_report_of_nothing_but_success() -> None:
    text = report("Ablation", lines(values(), values(-0.1)), "ndcg_10", 3)
    assert text.strip().endswith("Everything that was tried helps, wherever it was looked at.")


def test_other_models_that_win_are_named() -> None:
    found = compare("cold", ("A", [values()]), {"B": [values(0.1)]}, {"B": beside("A", "B")}, "ndcg_10")
    assert "- B beats A (cold: all users; " in report("Ablation", found, "ndcg_10", 1)


def test_what_fails_in_two_comparisons_is_told_of_each() -> None:
    verdicts = {"off": without("text")}
    found = [
        line
        for what in ("warm", "cold")
        for line in compare(what, ("a", [values()]), {"off": [values()]}, verdicts, "ndcg_10")
    ]
    failures = report("Ablation", found, "ndcg_10", 3).partition("## What does not help")[2].strip().splitlines()
    told = [failure.partition(";")[0] for failure in failures]
    assert told == [f"- text: no difference shown ({what}: all users" for what in ("warm", "cold")]


def test_sections_come_behind() -> None:
    text = report("Ablation", lines(values(), values(-0.1)), "ndcg_10", 3, sections=["## One", "## Two"])
    assert text.endswith("wherever it was looked at.\n\n## One\n\n## Two\n")


def test_the_time_of_training() -> None:
    text = training_section(
        {("width", "base"): [Training(30.0, 3), Training(50.0, 7)], ("width", "x"): [Training(8.0, 1)]}
    )
    assert text.startswith("## Time of training\n")
    assert "| width | base | 40.0 | 5.0000 | 8.0000 |" in text and "| width | x | 8.0000 | 1.0000 | 8.0000 |" in text


@given(st.lists(st.integers(0, 9), max_size=30))
def test_quarters_part_everything_in_order(sizes: list[int]) -> None:
    counted = np.array(sizes, np.int64)
    parts = list(quarters(counted))
    assert len(parts) <= 4 and (sum(part.astype(int) for part in parts) == 1).all() if sizes else not parts
    for smaller, larger in itertools.pairwise(parts):
        assert counted[smaller].max() < counted[larger].min()


def in_domains(gain: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """All users in movies, every fourth in books too; what is gained is gained in books only."""
    movies, books = values(0.0, seed), values(gain, seed + 100).iloc[::4]
    return pd.concat([movies.assign(domain="movie"), books.assign(domain="book")], ignore_index=True)


def test_domains_weigh_alike_and_have_lines_of_their_own() -> None:
    base, other = in_domains(), in_domains(0.1, seed=1).sample(frac=1, random_state=0)
    found = compare("genres", ("base", [base] * 2), {"off": [other] * 2}, {"off": without("genre")}, "ndcg_10")
    lines = {(line.variant, line.over): line for line in found}
    together = lines["off", "all users"]
    assert together.users == USERS and together.difference is not None
    assert together.mean == pytest.approx(other.groupby("domain")["ndcg_10"].mean().mean(), abs=1e-9)
    assert together.difference.mean == pytest.approx(0.05, abs=0.003) and together.difference.sign == 1
    movie, book = lines["off", "users in movie"], lines["off", "users in book"]
    assert (movie.users, book.users) == (USERS, USERS // 4)
    assert movie.difference is not None and movie.difference.sign == 0
    assert book.difference is not None and book.difference.mean == pytest.approx(0.1, abs=0.005)
    assert sum(line.users for (variant, over), line in lines.items() if variant == "off" and "items" in over) == USERS


def test_runs_of_other_domains_are_refused() -> None:
    base = in_domains()
    for other in (base.iloc[:-1], base.drop(columns="domain"), base.assign(domain="movie")):
        with pytest.raises(InputError, match="different users"):
            compare("genres", ("base", [base]), {"off": [other]}, {"off": without("genre")}, "ndcg_10")


def test_the_domain_is_no_metric() -> None:
    with pytest.raises(InputError, match=r"there are ndcg_10\.$"):
        compare("genres", ("base", [in_domains()]), {}, {}, "ndcg_5")
