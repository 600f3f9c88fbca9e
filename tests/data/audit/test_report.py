from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.audit.case import Case
from recsys_lightning.data.audit.report import CHECKS, Result, audit, faults, in_words, to_dict
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources.base import Source
from recsys_lightning.data.sources.movietweetings import MovieTweetings
from recsys_lightning.data.sources.synthetic import SyntheticDomains
from tests.conftest import REPOSITORY
from tests.data.audit.planted import FAULTS, Fault
from tests.data.audit.worlds import clean, source, without
from tests.data.memory import Memory

RECIPES = {
    "global_time": Recipe(),
    "global_time, all items": Recipe(unseen_items="keep", positive=4),
    "leave_last_out": Recipe(split="leave_last_out", val=1, test=1),
    "leave_last_out, shares": Recipe(split="leave_last_out", positive=4, user_core=5),
    "random": Recipe(split="random"),
    "item_cold": Recipe(split="item_cold"),
    "item_cold, shots": Recipe(split="item_cold", shots=2, reserve=4, positive=4),
    "user_cold": Recipe(split="user_cold"),
    "user_cold, shots": Recipe(split="user_cold", shots=3, reserve=5, positive=4),
}
DOMAINS = {
    "one after another": Recipe(split="leave_last_out", val=1, test=1),
    "later rows kept": Recipe(split="leave_last_out", val=1, test=1, later_rows="keep"),
    "new": Recipe(split="target_cold", target="drama", shots=0),
    "a few": Recipe(split="target_cold", target="drama", shots=2, reserve=3, later_rows="keep"),
    "all": Recipe(split="target_cold", target="drama", shots="all"),
    "one alone": Recipe(split="leave_last_out", val=1, test=1, only="drama"),
    "random": Recipe(split="random"),
}


LEAKED = next(fault for fault in FAULTS if fault.name == "test pairs in train")


def outcomes(results: list[Result], outcome: str) -> dict[str, Result]:
    return {result.name: result for result in results if result.outcome == outcome}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_planted_fault_is_found_by_its_check_and_by_no_other(fault: Fault) -> None:
    assert not outcomes(audit(clean(**fault.world)), "fault")
    found = outcomes(audit(fault.case()), "fault")
    assert set(found) == fault.found_by
    assert all(finding.count > 0 for result in found.values() for finding in result.findings)


def test_every_check_that_can_find_a_fault_finds_one_of_those_planted() -> None:
    only_remarks = {"future_items", "cold_users", "cold_items", "later_columns"}
    assert set().union(*(fault.found_by for fault in FAULTS)) == {check.name for check in CHECKS} - only_remarks


@lru_cache
def read(name: str) -> Memory:
    """Real and made rows, read once."""
    groups = {"action": ["Action", "Adventure", "Sci-Fi", "Thriller"], "drama": ["Drama", "Comedy", "Romance"]}
    files: dict[str, Source] = {
        "sample": MovieTweetings(REPOSITORY / "data"),
        "domains": MovieTweetings(REPOSITORY / "data", domains=groups),
        "made": SyntheticDomains(REPOSITORY / "data", users=200, items={"action": 100, "drama": 100}, rows=20),
    }
    raw = files[name].read()
    return Memory(raw.interactions, raw.items, raw.users)


def judged(data: Source, recipe: Recipe) -> list[Result]:
    return audit(Case(prepare(data, recipe), recipe))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_sample_has_no_faults_by_any_split(recipe: Recipe) -> None:
    results = judged(read("sample"), replace(recipe, positive=recipe.positive and 7))
    assert not outcomes(results, "fault")
    remarks = {"later_history", "later_val", "future_items", "cold_users", "cold_items", "tied_times"}
    assert set(outcomes(results, "remark")) <= remarks


@pytest.mark.parametrize("recipe", DOMAINS.values(), ids=DOMAINS)
def test_domains_have_no_faults_by_any_split(recipe: Recipe) -> None:
    assert not outcomes(judged(read("domains"), recipe), "fault")
    assert not outcomes(judged(read("made"), recipe), "fault")


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    domains=st.booleans(),
    recipe=st.sampled_from([*RECIPES.values(), *(replace(r, target=r.target and "film") for r in DOMAINS.values())]),
)
def test_clean_worlds_have_no_faults(seed: int, domains: bool, recipe: Recipe) -> None:
    if recipe.only:
        recipe = replace(recipe, only="film")
    domains |= recipe.target is not None or recipe.only is not None
    data = source(users=60, items=50, rows=1200, seed=seed, domains=domains)
    assert not outcomes(judged(data, recipe), "fault")


def test_the_report_tells_of_all_checks_and_what_they_found() -> None:
    text = in_words(case := clean("random"), results := audit(case))
    assert text.startswith("# memory: random, val 0.1, test 0.1\n") and "| train | " in text
    for check in CHECKS:
        assert f"| {check.name} | " in text and check.looks_for and "\n" not in check.looks_for
    assert "| later_elsewhere | not made: there is one domain |" in text
    assert "* remark, later_history: " in text and "the split random keeps no order in time" in text
    assert text.endswith("No faults.") and " 0 faults, 3 remarks, " in text.splitlines()[-1]
    leaked = LEAKED.case()
    told = in_words(leaked, found := audit(leaked))
    assert "| overlap | fault |" in told and "* fault, overlap: 3 (user, item) pairs stand in train and in test" in told
    assert " 1 fault, 3 remarks, " in told.splitlines()[-1] and told.endswith("wrong by what is called a fault.")
    assert faults(found) == 1 and faults(results) == 0


@pytest.mark.parametrize("split", ["global_time", "leave_last_out", "random", "item_cold", "user_cold"])
def test_what_looks_at_held_out_rows_is_not_made_without_any(split: str) -> None:
    results = audit(without(case := clean(split), case.held))
    made = {result.name for result in results if result.not_made != "there are no held-out rows"}
    assert made == {
        *("empty_parts", "duplicates", "books", "index_order", "stopped_clock", "later_columns"),
        *("same_title", "same_audience", "same_history", "twins_across_domains"),
    }


def test_programs_read_the_same() -> None:
    case = LEAKED.case()
    told = json.loads(json.dumps(to_dict(case, audit(case))))
    assert told["faults"] == 1 and told["data"] == "memory" and len(told["checks"]) == len(CHECKS)
    overlap = next(check for check in told["checks"] if check["name"] == "overlap")
    assert overlap["outcome"] == "fault" and overlap["findings"][0]["count"] == 3
    pair = {case.pairs(np.flatnonzero(case.prepared.mask("test"))[:1])[0]}
    assert pair <= set(overlap["findings"][0]["examples"])
