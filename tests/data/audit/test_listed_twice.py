from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys_lightning.data.audit.case import Case, Finding, Found
from recsys_lightning.data.audit.listed_twice import across_domains, by_audience, by_history, by_title
from recsys_lightning.data.twins import same_title
from tests.data.audit.planted import in_both_domains, listed_again, twins, two_accounts
from tests.data.audit.worlds import added, clean, without


def one(found: Found) -> Finding:
    assert not isinstance(found, str)
    [finding] = found
    return finding


def with_items(case: Case, **columns: object) -> Case:
    return replace(case, prepared=replace(case.prepared, items=case.prepared.items.assign(**columns)))


def test_a_title_alone_is_a_remark_as_it_may_be_a_remake() -> None:
    spoilt = twins(titles=True)(clean("random"))
    sure = one(by_title(spoilt))
    assert sure.fault and sure.count == 1 and "1 pairs of items have one title, and years or people" in sure.message
    bare = replace(spoilt, prepared=replace(spoilt.prepared, items=spoilt.prepared.items.drop(columns="year")))
    assert not one(by_title(bare)).fault and "nothing tells whether they are one thing" in one(by_title(bare)).message
    apart = with_items(spoilt, year=1950.0 + 2 * np.arange(60))
    assert by_title(apart) == []
    named = with_items(spoilt, title=spoilt.prepared.items["item_id"])
    assert by_title(named) == "the items have no titles"


def test_twins_that_nobody_has_on_both_sides_are_a_remark() -> None:
    spoilt = twins(titles=True)(clean("random"))
    rows, (a, b) = spoilt.rows, same_title(spoilt.prepared.items)[0]
    users = [set(rows.user[mask & (rows.item == i)]) for i in (a, b) for mask in (spoilt.seen, spoilt.held)]
    told = len(users[0] & users[3]) + len(users[2] & users[1])
    assert told > 0 and f"they tell {told} of {spoilt.held.sum():,} held-out rows" in one(by_title(spoilt)).message
    without_test = one(by_title(without(spoilt, spoilt.held)))
    assert not without_test.fault and "they tell 0 of 0 held-out rows" in without_test.message


def test_volumes_of_a_series_have_one_audience_and_are_no_fault() -> None:
    case = listed_again(clean("random"), 0, 2)
    series = one(by_audience(case))
    assert not series.fault and "as volumes of a series may" in series.message
    nameless = one(by_audience(with_items(case, title=case.prepared.items["item_id"])))
    assert nameless.fault and "they tell 4 of " in nameless.message


def test_a_film_and_its_book_are_a_remark_and_one_thing_in_both_domains_a_fault() -> None:
    case = clean("random", domains=True)
    assert one(across_domains(in_both_domains(case))).fault
    title = case.prepared.items["title"].copy()
    code = case.prepared.domain
    assert code is not None
    title[np.flatnonzero(code == 1)[1]] = title[np.flatnonzero(code == 0)[1]]
    film = with_items(case, title=title, year=2000.0, genres=[["one"]] * 60)
    assert not one(across_domains(film)).fault and by_title(film) == []
    assert across_domains(clean("random")) == "there is one domain"


def test_twins_that_tell_less_than_a_thousandth_are_a_remark() -> None:
    spoilt = two_accounts(clean("random"))
    own = np.flatnonzero(spoilt.held & (spoilt.rows.user == 3))
    others = np.tile(np.flatnonzero(spoilt.held & (spoilt.rows.user != 3)), 1 + 1000 * len(own) // spoilt.held.sum())
    diluted = added(spoilt, others)
    assert one(by_history(spoilt)).fault and not one(by_history(diluted)).fault


def test_accounts_are_told_by_name() -> None:
    spoilt = two_accounts(clean("random"))
    users = spoilt.prepared.users["user_id"]
    finding = one(by_history(spoilt))
    held = int((spoilt.held & (spoilt.rows.user == 3)).sum())
    assert finding.fault and finding.examples == (f"{users[3]} = {users[7]}",)
    assert f"they tell {held} of {int(spoilt.held.sum()):,} held-out rows" in finding.message
