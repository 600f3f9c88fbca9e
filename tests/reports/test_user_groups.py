from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.reports.user_groups import (
    ACTIVITY,
    DAY,
    DOMAIN,
    GENRE,
    POPULARITY,
    RECENCY,
    Scored,
    left_out,
    traits_of,
    user_groups,
)
from tests.tasks.test_base import data
from tests.worlds import DomainSource

VISIBLE = ("train",)


def everybody(prepared: Prepared) -> Scored:
    """All who can be tested; recall is the number of held-out rows over 100, so that sums can be checked."""
    relevant = prepared.csr("test")
    user, item = relevant.row.numpy(), relevant.col.numpy()
    code = np.zeros(len(user), np.int64) if prepared.domain is None else prepared.domain[item].astype(np.int64)
    pairs, number = np.unique(np.stack([code, user]), axis=1, return_counts=True)
    domain = None if prepared.domain is None else pairs[0]
    rows = prepared.csr(*VISIBLE).degree.numpy()[pairs[1]]
    return Scored(pairs[1], domain, rows, number / 100, number / 200, 5)


def groups(tested: Scored, prepared: Prepared) -> list[dict[str, Any]]:
    return user_groups(tested, traits_of(tested, prepared, VISIBLE), prepared)


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [bucket for bucket in found if bucket["of"] == kind]


def test_groups_hold_the_users_that_they_name() -> None:
    prepared = data().prepared
    tested = everybody(prepared)
    found = groups(tested, prepared)
    train, test = prepared.csr("train"), prepared.csr("test")
    popularity = np.bincount(train.col.numpy(), minlength=prepared.num_items)
    own = [test.col[test.row == user].numpy() for user in tested.user]
    mean = [round(float(popularity[items].mean())) for items in own]
    for kind, values in ((ACTIVITY, tested.rows.tolist()), (POPULARITY, mean)):
        assert sum(bucket["users"] for bucket in of(found, kind)) == len(tested.user)
        for bucket in of(found, kind):
            ends = [int(end.replace(",", "")) for end in bucket["name"].split(" to ")]
            inside = [place for place, value in enumerate(values) if ends[0] <= value <= ends[-1]]
            assert bucket["users"] == len(inside)
            assert bucket["relevant"] == sum(len(own[place]) for place in inside)
            assert bucket["recall_5"] == pytest.approx(tested.recall[inside].mean())
            assert bucket["ndcg_5"] == pytest.approx(tested.ndcg[inside].mean())
            assert bucket["low"] <= bucket["recall_5"] <= bucket["high"]
    genre = prepared.item_attributes["genre"]
    for bucket in of(found, GENRE):
        items = set(genre.item[genre.value == genre.values.index(bucket["name"])])
        assert bucket["users"] == sum(bool(items & set(held)) for held in own)
    assert of(found, GENRE) and not of(found, DOMAIN)


def test_days_are_those_from_the_newest_visible_row() -> None:
    prepared = InteractionsDataModule(DomainSource(), Recipe(split="random")).prepared
    rows, tested = prepared.interactions, everybody(prepared)
    test = prepared.positives("test")
    time = np.where(test, 1_000_000 + DAY * (3 + rows.user % 2), 1_000_000).astype(np.int64)
    later = replace(prepared, interactions=replace(rows, timestamp=time))
    found = of(groups(tested, later), RECENCY)
    assert [bucket["name"] for bucket in found] == ["3", "4"]
    assert [bucket["users"] for bucket in found] == [len(set(tested.user[tested.user % 2 == odd])) for odd in (0, 1)]
    assert not left_out(tested, traits_of(tested, later, VISIBLE))
    never = replace(prepared, interactions=replace(rows, timestamp=np.where(test, 0, DAY).astype(np.int64)))
    unknown = replace(prepared, interactions=replace(rows, timestamp=None))
    for other in (never, unknown):
        assert not of(groups(tested, other), RECENCY) and not left_out(tested, traits_of(tested, other, VISIBLE))


def test_it_is_said_whom_days_leave_out() -> None:
    prepared = InteractionsDataModule(DomainSource(), Recipe(split="random")).prepared
    rows, tested = prepared.interactions, everybody(prepared)
    time = np.where(prepared.positives("test") & (rows.user % 2 == 0), DAY, DAY // 2).astype(np.int64)
    time[~prepared.positives("test") & (rows.user % 2 == 1)] = DAY
    some = replace(prepared, interactions=replace(rows, timestamp=time))
    later, odd = of(groups(tested, some), RECENCY), int((tested.user % 2 == 1).sum())
    assert sum(bucket["users"] for bucket in later) == len(set(tested.user[tested.user % 2 == 0])) and odd
    (entry,) = left_out(tested, traits_of(tested, some, VISIBLE))
    said = f"{odd} of {len(tested.user)} users, each counted in each domain, are in no group: the first row"
    assert entry["of"] == RECENCY and entry["text"].startswith(said)


def test_domains_count_alike_in_every_group() -> None:
    prepared = InteractionsDataModule(DomainSource(), Recipe(split="random")).prepared
    tested = everybody(prepared)
    assert tested.domain is not None
    for bucket in of(groups(tested, prepared), ACTIVITY):
        ends = [int(end) for end in bucket["name"].split(" to ")]
        inside = (tested.rows >= ends[0]) & (tested.rows <= ends[-1])
        means = [tested.recall[inside & (tested.domain == code)].mean() for code in (0, 1)]
        assert bucket["recall_5"] == pytest.approx(np.mean(means))
        assert bucket["users"] == len(set(tested.user[inside]))
    domains = of(groups(tested, prepared), DOMAIN)
    assert [bucket["name"] for bucket in domains] == list(prepared.domains)
    for code, bucket in enumerate(domains):
        inside = tested.domain == code
        assert (bucket["users"], bucket["recall_5"]) == (inside.sum(), pytest.approx(tested.recall[inside].mean()))
        assert bucket["low"] <= bucket["recall_5"] <= bucket["high"]


def test_nobody_and_one_user_are_no_mistake() -> None:
    prepared = data().prepared
    user, _, rows, recall, ndcg, k = everybody(prepared)
    nobody, one = (Scored(user[:n], None, rows[:n], recall[:n], ndcg[:n], k) for n in (0, 1))
    assert groups(nobody, prepared) == []
    found = groups(one, prepared)
    assert found and all(bucket["low"] is None and bucket["high"] is None for bucket in found)
