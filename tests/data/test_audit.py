from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data.audit import audit, future, history, report
from recsys_lightning.data.prepare import Recipe, prepare
from recsys_lightning.data.twins import same_audience, same_title
from tests.data.memory import Memory, interactions, random_interactions


def clean(**recipe):
    """A split in time of 30 items that all exist before the cut."""
    data = random_interactions(users=80, items=30, rows=1500)
    titles = pd.DataFrame({"title": [f"Title {i}" for i in range(30)]}, index=[f"i{i:03}" for i in range(30)])
    return prepare(Memory(data, titles), Recipe(**recipe))


def kinds(prepared, rows=None, items=None):
    rows = prepared.interactions if rows is None else rows
    found = audit(rows, prepared.items if items is None else items, prepared.users)
    return {finding.kind: finding for finding in found}


def append(rows, other, **changes):
    """Rows, and copies of some of them with changes."""
    copies = rows.take(np.asarray(other))
    copies = replace(copies, **{name: np.full(len(copies), value, np.int8) for name, value in changes.items()})
    columns = ("user", "item", "rating", "timestamp", "split")
    return replace(rows, **{c: np.concatenate([getattr(rows, c), getattr(copies, c)]) for c in columns})


def test_nothing_is_found_in_a_clean_split():
    assert kinds(clean()) == {}
    text = report(clean())
    assert "No findings." in text and "global_time, val 0.1, test 0.1" in text and "| train | 1,200 |" in text


def test_planted_duplicates_and_overlap():
    prepared = clean()
    rows = prepared.interactions
    train = np.flatnonzero(prepared.mask("train"))[[3, 9]]
    assert kinds(prepared, append(rows, train))["duplicates"].count == 2
    leaked = kinds(prepared, append(rows, train, split=2))
    assert leaked["overlap"].count == 2 and "duplicates" not in leaked
    user, item = rows.user[train[0]], rows.item[train[0]]
    assert f"{prepared.users['user_id'][user]}, {prepared.items['item_id'][item]}" in leaked["overlap"].examples


def test_a_random_split_shows_the_future():
    prepared = clean(split="random")
    found = kinds(prepared)
    assert set(found) == {"future_history"}
    assert found["future_history"].count > 50
    assert "Test rows older than some train row" in report(prepared)


def test_future_figures_are_what_they_say():
    rows = interactions(
        [("a", "x"), ("a", "y"), ("a", "z"), ("b", "z"), ("b", "x")],
        timestamp=[1, 5, 3, 4, 9],
        split=[0, 0, 2, 0, 2],
    )
    # the test row of a at 3 is older than the train row at 5, that of b is not; at 3 y does not exist yet, at 9 all do
    assert future(rows) == pytest.approx((2, 1 / 2, (1 / 3 + 0) / 2))
    assert future(replace(rows, timestamp=None)) is None


def test_cold_users_and_items():
    prepared = clean()
    rows = prepared.interactions
    kept = rows.take(~(prepared.mask("train") & ((rows.user == 7) | (rows.item == 3))))
    found = kinds(prepared, kept)
    assert found["cold_users"].examples == (prepared.users["user_id"][7],)
    assert found["cold_items"].examples == (prepared.items["item_id"][3],)


def test_users_who_are_new_are_told_with_what_is_given_of_them():
    prepared = clean(split="user_cold", val=5, test=5, shots=2)
    found = kinds(prepared)
    assert list(found) == ["cold_users"] and found["cold_users"].count == 10
    assert found["cold_users"].message == "10 users have held-out rows and no train rows, 10 of them with given rows"
    text = report(prepared)
    assert "# memory: user_cold, val 5, test 5, 2 rows of each held-out user given" in text
    assert "| given | 20 | 10 |" in text and "| shots | 1,500 | 80 | 30 | 20 rows, the first 2 of each" in text
    assert "older than some train row of the same user: 0.0%" in text
    alone = kinds(clean(split="user_cold", val=5, test=5))["cold_users"].message
    assert alone == "10 users have held-out rows and no train rows"
    assert "given" not in report(clean(split="user_cold", val=5, test=5))


def test_rows_that_are_given_out_of_order_are_of_the_future():
    rows = interactions([("a", "x"), ("a", "y"), ("b", "z")], timestamp=[5, 3, 4], split=[3, 2, 0])
    assert future(rows).history == 1


def test_an_order_tells_of_the_future_too_whatever_the_domain():
    rows = interactions(
        [("a", "x"), ("a", "y"), ("a", "z"), ("b", "z"), ("b", "x")], order=[1, 5, 3, 0, 1], split=[0, 0, 2, 0, 2]
    )
    assert history(rows) == 1 / 2 and future(rows) is None
    assert history(replace(rows, order=None)) is None
    data = replace(clean().interactions, split=None, domain=(np.arange(30) % 2).astype(np.int8), domains=("a", "b"))
    later = Recipe(split="leave_last_out", val=1, test=1, later_rows="keep")
    kept, cut = (prepare(Memory(data), recipe) for recipe in (later, replace(later, later_rows="drop")))
    assert kinds(kept)["future_history"].count > 20 and "future_history" not in kinds(cut)
    ordered = replace(data, timestamp=None, order=data.timestamp)
    told = report(prepare(Memory(ordered), replace(later, later_rows="drop")))
    assert "Test rows older than some train row of the same user: 0.0%.\n" in told


def test_planted_twins_by_title():
    prepared = clean()
    items = prepared.items.copy()
    items.loc[[4, 17], "title"] = ["The Twin", " the twin"]
    assert same_title(items).tolist() == [[4, 17]]
    assert "The Twin" in kinds(prepared, items=items)["same_title"].examples[0]
    items["title"] = items["item_id"]
    assert len(same_title(items)) == 0


def test_planted_twins_by_audience():
    prepared = clean()
    rows = prepared.interactions
    audience = np.flatnonzero(rows.item == 5)
    twin = append(rows, audience[1:])
    twin.item[len(rows) :] = 8
    twin = twin.take((twin.item != 8) | (np.arange(len(twin)) >= len(rows)))
    assert len(audience) > 30
    assert same_audience(twin).tolist() == [[5, 8]]
    assert kinds(prepared, twin)["same_audience"].count == 1
    assert len(same_audience(twin, least_users=200)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_twins_are_those_of_the_definition(seed):
    random = np.random.default_rng(seed)
    sets = random.random((12, 60)) < 0.6
    for twin, original in ((3, 1), (7, 4), (9, 8)):
        sets[twin] = sets[original]
        sets[twin, random.integers(0, 60, seed)] ^= True
    user, item = np.nonzero(sets.T)
    rows = interactions([(f"{u:02}", f"{i:02}") for u, i in zip(user, item, strict=True)])
    rows = prepare(Memory(rows), Recipe(split="random", val=0, test=0)).interactions
    expected = [
        [a, b]
        for a in range(12)
        for b in range(a + 1, 12)
        if (sets[a] & sets[b]).sum() >= 0.9 * (sets[a] | sets[b]).sum()
    ]
    assert same_audience(rows).tolist() == expected
