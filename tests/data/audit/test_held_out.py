from __future__ import annotations

import pytest

from recsys_lightning.data.audit.held_out import (
    cold_items,
    cold_users,
    empty_parts,
    known_users,
    more_shots,
    outside_target,
)
from tests.data.audit.worlds import changed, clean, of, without


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ({"val": 1, "test": 0}, [("there are no test rows, as none are asked for", False)]),
        ({"val": 0, "test": 1}, [("there are no val rows, as none are asked for", False)]),
        ({"val": 1, "test": 1}, []),
    ],
)
def test_an_empty_part_that_is_asked_for_is_a_remark(sizes: dict[str, int], found: list[tuple[str, bool]]) -> None:
    assert [(one.message, one.fault) for one in empty_parts(clean("leave_last_out", **sizes))] == found


def test_an_empty_test_that_is_not_asked_for_is_a_fault() -> None:
    case = clean("leave_last_out", val=1, test=1)
    val, test = empty_parts(without(case, case.held))
    why = "though the split promises some: too few are left to hold any out"
    assert (val.message, val.fault) == (f"there are no val rows, {why}", False)
    assert (test.message, test.fault) == (f"there are no test rows, {why}", True)


def test_users_and_items_without_train_rows_are_a_remark() -> None:
    case = clean("global_time")
    assert cold_users(case) == cold_items(case) == []
    train = case.prepared.mask("train")
    cold = without(case, train & ((case.rows.user == 7) | (case.rows.item == 3)))
    for check, name in ((cold_users, case.prepared.users.user_id[7]), (cold_items, case.prepared.items.item_id[3])):
        [finding] = check(cold)
        assert (finding.examples, finding.count, finding.fault) == ((name,), 1, False)


def test_users_who_are_new_are_told_with_what_is_given_of_them() -> None:
    [finding] = cold_users(clean("user_cold", val=5, test=5, shots=2))
    assert finding.message == "10 users have held-out rows and no train rows, 10 of them with given rows"
    [alone] = cold_users(clean("user_cold", val=5, test=5))
    assert alone.message == "10 users have held-out rows and no train rows"


@pytest.mark.parametrize(
    ("split", "options"),
    [
        ("user_cold", {"val": 5, "test": 5, "shots": 3}),
        ("item_cold", {"val": 5, "test": 5, "shots": 3}),
        ("item_cold", {"val": 5, "test": 5, "shots": 3, "positive": 4}),
        ("target_cold", {"val": 5, "test": 5, "shots": 3, "target": "film", "domains": True}),
    ],
)
def test_so_many_rows_are_known_as_the_recipe_says_and_no_more(split: str, options: dict[str, object]) -> None:
    case = clean(split, **options)
    assert more_shots(case) == [] and not known_users(case)[:0]
    fewer = clean(split, **{**options, "shots": 2, "reserve": 3})
    claimed = type(case)(case.prepared, fewer.recipe)
    [finding] = more_shots(claimed)
    assert finding.fault and finding.count > 3 and "more than 2 known rows" in finding.message


def test_what_a_split_does_not_say_is_not_checked() -> None:
    case = clean("random")
    assert known_users(case) == "the split is random" and isinstance(more_shots(case), str)
    assert outside_target(case) == "no domain is a target"
    everything = clean("target_cold", val=5, test=5, shots="all", target="film", domains=True)
    assert more_shots(everything) == "all earlier rows are to be known" and outside_target(everything) == []
    [finding] = more_shots(changed(everything, of(everything, "train"), split="given"))
    assert finding.count == 3 and "target_cold gives none" in finding.message
