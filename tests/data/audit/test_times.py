from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys_lightning.data.audit.case import Case, Found
from recsys_lightning.data.audit.times import (
    future_items,
    later_elsewhere,
    later_history,
    later_val,
    one_cut,
    stopped_clock,
    tied_times,
)
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from tests.data.audit.worlds import changed, clean, source, with_rows
from tests.data.memory import Memory, interactions


def judged(pairs: list[tuple[str, str]], claim: str, **columns: list[int]) -> Case:
    """Few rows as they are; the recipe only says what they claim to be."""
    rows = interactions(pairs, **columns)
    prepared = prepare(Memory(replace(rows, split=None)), Recipe(split="random", val=0, test=0))
    return Case(replace(prepared, interactions=rows), Recipe(split=claim))


def kinds(found: Found) -> list[tuple[int, bool]]:
    assert not isinstance(found, str)
    return [(finding.count, finding.fault) for finding in found]


PAIRS = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y"), ("b", "z")]


@pytest.mark.parametrize(("split", "fault"), [("leave_last_out", True), ("random", False), ("official", False)])
@pytest.mark.parametrize("clock", ["timestamp", "order"])
def test_it_is_a_fault_where_the_split_promises_otherwise(split: str, fault: bool, clock: str) -> None:
    # of a the train row at 9 is later than both others, the val row at 8 than the test row; those of b are of one time
    case = judged(PAIRS, split, **{clock: [9, 8, 7, 1, 1, 1]}, split=[0, 1, 2, 0, 1, 2])
    assert kinds(later_history(case)) == [(1, fault), (1, fault)]
    assert kinds(later_val(case)) == [(1, fault)]


def test_without_time_there_is_nothing_to_check() -> None:
    case = judged(PAIRS, "random", split=[0, 1, 2, 0, 1, 2])
    for check in (later_history, later_val):
        assert check(case) == "the rows have neither timestamps nor an order"
    assert stopped_clock(case) == future_items(case) == "the rows have no timestamps"


def test_the_cut_is_one_for_all_and_rows_of_its_moment_are_behind_it() -> None:
    case = judged(PAIRS, "global_time", timestamp=[1, 3, 5, 2, 4, 6], split=[0, 1, 2, 0, 1, 2])
    assert one_cut(case) == []
    assert kinds(one_cut(changed(case, [3], timestamp=3))) == [(1, True)]
    assert kinds(one_cut(changed(case, [3], timestamp=5))) == [(1, True), (1, True)]
    assert isinstance(one_cut(replace(case, recipe=Recipe(split="random"))), str)


def test_rows_of_one_time_are_a_fault_when_they_decide_for_most() -> None:
    case = judged(PAIRS, "leave_last_out", timestamp=[1, 2, 2, 1, 2, 3], split=[0, 0, 2, 0, 0, 2])
    assert kinds(tied_times(case)) == [(1, False)]
    assert kinds(tied_times(changed(case, [4], timestamp=3))) == [(2, True)]
    assert tied_times(changed(case, [2], timestamp=3)) == []


def test_a_clock_stands_when_most_rows_are_of_one_time() -> None:
    case = judged(PAIRS, "leave_last_out", timestamp=[0, 0, 0, 1, 2, 3], split=[0, 0, 2, 0, 0, 2])
    assert stopped_clock(case) == []
    assert kinds(stopped_clock(changed(case, [3], timestamp=0))) == [(4, True)]
    assert kinds(stopped_clock(replace(changed(case, [3], timestamp=0), recipe=Recipe(split="random")))) == [(4, False)]


def test_items_of_the_future_are_a_remark_with_their_share() -> None:
    case = judged(PAIRS, "random", timestamp=[1, 2, 3, 9, 9, 9], split=[2, 0, 0, 0, 0, 0])
    [finding] = future_items(case)
    assert finding == replace(finding, fault=False, count=2)
    assert finding.message.startswith("66.7% of the items")
    assert future_items(clean("global_time")) == []


def test_rows_of_another_domain_count_by_themselves() -> None:
    kept = Recipe(split="leave_last_out", val=1, test=1, later_rows="keep")
    case = Case(prepare(source(domains=True), kept), kept)
    [finding] = later_elsewhere(case)
    assert finding.count > 20 and not finding.fault
    assert "as data.recipe.later_rows says keep" in finding.message
    assert later_history(case) == []
    dropped = replace(kept, later_rows="drop")
    assert later_elsewhere(Case(case.prepared, dropped))[0].fault
    assert later_elsewhere(Case(prepare(source(domains=True), dropped), dropped)) == []
    assert later_elsewhere(clean("leave_last_out")) == "there is one domain"


def test_the_order_of_rows_is_no_matter() -> None:
    case = clean("random")
    mixed = with_rows(case, case.rows.take(np.random.default_rng(0).permutation(len(case.rows))))
    for check in (later_history, later_val, future_items):
        assert kinds(check(mixed)) == kinds(check(case))
