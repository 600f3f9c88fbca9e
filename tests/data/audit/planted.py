"""Faults, each planted into a clean world, with the checks that are to tell of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from recsys_lightning.data.audit.case import Case
from recsys_lightning.data.rows import count
from tests.data.audit.worlds import Plant, added, changed, clean, of, with_rows, without

DAY = 24 * 3600


class Fault(NamedTuple):
    """What is done to which world, and by which checks it is found."""

    name: str
    world: dict[str, Any]
    plant: Plant
    found_by: set[str]

    def case(self) -> Case:
        return self.plant(clean(**self.world))


def copies(split: str, into: str) -> Plant:
    return lambda case: added(case, of(case, split), split=into)


def given_again(case: Case) -> Case:
    """The newest row that is given of a tested user is tested, too."""
    user = case.rows.user[of(case, "test", 1)]
    own = np.flatnonzero(case.prepared.mask("given") & (case.rows.user == user))
    return added(case, own[np.argmax(case.rows.timestamp[own])][None], split="test")


def later_train(case: Case) -> Case:
    """A train row of a user who is tested goes to the very end."""
    user = case.rows.user[of(case, "test", 1)]
    row = np.flatnonzero(case.prepared.mask("train") & (case.rows.user == user))[:1]
    return changed(case, row, timestamp=case.rows.timestamp.max() + DAY)


def later_val(case: Case) -> Case:
    return changed(case, of(case, "val", 1), timestamp=case.rows.timestamp.max() + DAY)


def later_in_the_other_domain(case: Case) -> Case:
    """Someone's train row of the domain that is held out last moves behind what is held out in the other."""
    rows, time, domain = case.rows, case.rows.timestamp, case.prepared.domain[case.rows.item]
    for user in range(case.prepared.num_users):
        own = rows.user == user
        first = [time[own & case.held & (domain == code)].min() for code in (0, 1)]
        last = int(np.argmax(first))
        row = np.flatnonzero(own & case.prepared.mask("train") & (domain == last))
        if len(row) and max(first) - min(first) > 2:
            return changed(case, row[:1], timestamp=min(first) + 1)
    raise AssertionError("nobody has room between the two")


def across_the_cut(case: Case) -> Case:
    """A train row of one user comes after what is held out of others, yet before what is held out of this one."""
    rows, time = case.rows, case.rows.timestamp
    row = np.flatnonzero(case.held)[np.argmax(time[case.held])]
    own = rows.user == rows.user[row]
    first = time[own & case.held].min()
    assert first > time[case.held].min() + 1
    return changed(case, np.flatnonzero(own & case.prepared.mask("train"))[:1], timestamp=first - 1)


def tied(case: Case) -> Case:
    return changed(case, slice(None), timestamp=1_000_000_000 + case.rows.user.astype(np.int64))


def stopped(case: Case) -> Case:
    return changed(case, case.prepared.mask("train"), timestamp=5)


def twins(titles: bool) -> Plant:
    """An item of train and what a tested row is of are one: by title, or by the users whom they share."""

    def plant(case: Case) -> Case:
        rows = case.rows
        if titles:
            row = of(case, "test", 1)[0]
            known = np.flatnonzero(case.prepared.mask("train") & (rows.user == rows.user[row]))[0]
            a, b = rows.item[known], rows.item[row]
            items = case.prepared.items.copy()
            items.loc[b, "title"] = f" {items.title[a].upper()}"
            items.loc[b, "year"] = items.year[a]
            items.at[b, "genres"] = items.genres[a]
            return replace(case, prepared=replace(case.prepared, items=items))
        case = listed_again(case, 0, 2)
        items = case.prepared.items.copy()
        items["title"] = items["item_id"]
        return replace(case, prepared=replace(case.prepared, items=items))

    return plant


def listed_again(case: Case, original: int, twin: int) -> Case:
    """An item gets the users of another one, and is tested where that is known."""
    case = without(case, case.rows.item == twin)
    audience = np.flatnonzero(case.rows.item == original)
    assert len(audience) >= 20
    case = added(case, audience, item=twin)
    train = np.flatnonzero(case.prepared.mask("train") & (case.rows.item == twin))
    return changed(case, train[:4], split="test")


def in_both_domains(case: Case) -> Case:
    domain = case.prepared.domain
    a, b = np.flatnonzero(domain == 0)[1], np.flatnonzero(domain == 1)[1]
    case = listed_again(case, a, b)
    items = case.prepared.items.copy()
    items.loc[b, "title"] = items.title[a]
    items.at[b, "genres"] = items.genres[a]
    items.loc[b, "year"] = items.year[a]
    return replace(case, prepared=replace(case.prepared, items=items))


def two_accounts(case: Case) -> Case:
    """One user gets the rows of another one, and train those that are tested of the other."""
    case = without(case, case.rows.user == 7)
    case = added(case, np.flatnonzero(case.rows.user == 3), user=7)
    return changed(case, case.rows.user == 7, split="train")


def column(make: Any) -> Plant:
    """The table of items gets a column of numbers."""

    def plant(case: Case) -> Case:
        items = case.prepared.items.assign(plays=make(case))
        return replace(case, prepared=replace(case.prepared, items=items))

    return plant


def counts(*splits: str) -> Plant:
    return column(lambda case: 3.0 * count(case.rows.item[case.prepared.mask(*splits)], case.prepared.num_items) + 7)


def mean_rating(case: Case) -> Any:
    """As publishers give it: to two digits, of all ratings."""
    rows, size = case.rows, case.prepared.num_items
    return (np.bincount(rows.item, rows.rating, size) / count(rows.item, size)).round(2)


def named_in_a_text(case: Case) -> Case:
    row = of(case, "test", 1)[0]
    items = case.prepared.items.copy()
    name = case.prepared.users.user_id[case.rows.user[row]]
    items.loc[case.rows.item[row], "overview"] = f"Dull. ({name.upper()}, on a train)"
    return replace(case, prepared=replace(case.prepared, items=items))


def first_held(case: Case, codes: Any) -> Any:
    """The oldest held-out row of the user, or item, of whom most are held out."""
    held = np.flatnonzero(case.held)
    own = held[codes[held] == np.bincount(codes[held]).argmax()]
    return own[np.argmin(case.rows.timestamp[own])][None]


def one_user_known(case: Case) -> Case:
    return changed(case, first_held(case, case.rows.user), split="train")


def one_item_known(case: Case) -> Case:
    return changed(case, first_held(case, case.rows.item), split="train")


def one_more_given(case: Case) -> Case:
    return changed(case, first_held(case, case.rows.user), split="given")


def one_more_there(case: Case) -> Case:
    """A user who is new in films gets a film into train."""
    rows = case.rows
    row = of(case, "test", 1)
    mine = rows.item[rows.user == rows.user[row]]
    film = next(item for item in np.flatnonzero(case.prepared.domain == 1) if item not in mine)
    return added(case, row, item=film, split="train", timestamp=5)


def late_shot(case: Case) -> Case:
    held = np.isin(case.rows.item, case.rows.item[case.held])
    shot = np.flatnonzero(held & case.prepared.mask("train"))[:1]
    return changed(case, shot, timestamp=case.rows.timestamp.max() + DAY)


def outside(case: Case) -> Case:
    """A tested row is of a book, where films are the target."""
    row = of(case, "test", 1)
    mine = case.rows.item[case.rows.user == case.rows.user[row]]
    book = next(item for item in np.flatnonzero(case.prepared.domain == 0) if item not in mine)
    return changed(case, row, item=book)


def by_popularity(case: Case) -> Case:
    """Items are numbered by how often they are tested."""
    rows, size = case.rows, case.prepared.num_items
    order = np.argsort(-count(rows.item[case.prepared.mask("test")], size), kind="stable")
    place = np.argsort(order).astype(np.int32)
    renamed = replace(rows, item=place[rows.item], item_ids=rows.item_ids.take(pa.array(order)))
    return with_rows(case, renamed, items=case.prepared.items.iloc[order].reset_index(drop=True))


def behind_the_books(case: Case) -> Case:
    """Test rows get lost after all has been counted."""
    lost = np.zeros(len(case.rows), np.bool_)
    lost[of(case, "test")] = True
    return replace(case, prepared=replace(case.prepared, interactions=case.rows.take(~lost)))


def another_rating(case: Case) -> Case:
    rating = case.rows.rating.copy()
    rating[of(case, "test", 1)] += 1
    return replace(case, prepared=replace(case.prepared, interactions=replace(case.rows, rating=rating)))


RANDOM, LAST, TIME = {"split": "random"}, {"split": "leave_last_out", "val": 1, "test": 1}, {"split": "global_time"}
DOMAINS = {**LAST, "domains": True}
NEW = {"split": "user_cold", "val": 5, "test": 5, "shots": 2}
ITEMS = {"split": "item_cold", "val": 5, "test": 5}
TARGET = {"split": "target_cold", "target": "film", "val": 10, "test": 10, "domains": True}

FAULTS = (
    Fault("no test", TIME, lambda case: without(case, case.prepared.mask("test")), {"empty_parts"}),
    Fault("nothing held out", LAST, lambda case: without(case, case.held), {"empty_parts"}),
    Fault("test pairs in train", RANDOM, copies("test", "train"), {"overlap"}),
    Fault("val pairs in train", RANDOM, copies("val", "train"), {"overlap"}),
    Fault("test pairs in val", RANDOM, copies("test", "val"), {"overlap"}),
    Fault("test pairs that are given", NEW, given_again, {"overlap"}),
    Fault("train twice", RANDOM, copies("train", "train"), {"duplicates"}),
    Fault("test twice", RANDOM, copies("test", "test"), {"duplicates"}),
    Fault("lost rows", RANDOM, behind_the_books, {"books"}),
    Fault("another rating", RANDOM, another_rating, {"books"}),
    Fault("items numbered by test", RANDOM, by_popularity, {"index_order"}),
    Fault("train after test, last out", LAST, later_train, {"later_history"}),
    Fault("train after test, one cut", TIME, later_train, {"later_history", "one_cut"}),
    Fault("train of others after the cut", TIME, across_the_cut, {"one_cut"}),
    Fault("val after test", LAST, later_val, {"later_val"}),
    Fault("later in the other domain", DOMAINS, later_in_the_other_domain, {"later_elsewhere"}),
    Fault("one time for each user", LAST, tied, {"tied_times"}),
    Fault("one time for train", LAST, stopped, {"stopped_clock"}),
    Fault("held-out user in train", NEW, one_user_known, {"known_users", "index_order"}),
    Fault("one more row given", NEW, one_more_given, {"more_shots"}),
    Fault(
        "given rows of a random split",
        RANDOM,
        lambda case: changed(case, of(case, "val"), split="given"),
        {"more_shots"},
    ),
    Fault("held-out item in train", ITEMS, one_item_known, {"more_shots", "index_order"}),
    Fault("a film of who is new to films", TARGET, one_more_there, {"more_shots"}),
    Fault("a late shot of an item", {**ITEMS, "shots": 1}, late_shot, {"late_shots"}),
    Fault("tested outside the target", TARGET, outside, {"outside_target"}),
    Fault("one title", RANDOM, twins(titles=True), {"same_title"}),
    Fault("listed again", RANDOM, twins(titles=False), {"same_audience"}),
    Fault("in both domains", {**RANDOM, "domains": True}, in_both_domains, {"twins_across_domains"}),
    Fault("two accounts", RANDOM, two_accounts, {"same_history"}),
    Fault("counts of all rows", RANDOM, counts("train", "val", "test"), {"counted_columns"}),
    Fault("counts of train and test", TIME, counts("train", "test"), {"counted_columns"}),
    Fault("counts of test", LAST, counts("test"), {"counted_columns"}),
    Fault("mean of all ratings", RANDOM, column(mean_rating), {"counted_columns"}),
    Fault("named in a text", RANDOM, named_in_a_text, {"named_users"}),
)
