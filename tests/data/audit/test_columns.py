from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys_lightning.data.audit.case import Case
from recsys_lightning.data.audit.columns import counted_columns, later_columns, named_users
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.rows import count
from tests.data.audit.worlds import clean, of
from tests.data.memory import Memory, interactions


def with_items(case: Case, **columns: object) -> Case:
    return replace(case, prepared=replace(case.prepared, items=case.prepared.items.assign(**columns)))


@pytest.mark.parametrize("split", ["random", "global_time", "item_cold"])
@pytest.mark.parametrize("seed", range(5))
def test_what_an_oracle_of_popularity_knows_is_no_leak(split: str, seed: int) -> None:
    """Items are as popular as Zipf has it, in a drift; columns hold the very numbers that made them so."""
    random = np.random.default_rng(seed)
    weight, drift = 1 / np.arange(1, 201) ** 0.8, random.normal(0, 0.5, 200)
    time = np.sort(random.random(6000))
    chance = weight * np.exp(drift * time[:, None])
    item = (chance.cumsum(1) / chance.sum(1)[:, None] > random.random((6000, 1))).argmax(1)
    pairs = [(f"u{user}", f"i{i}") for user, i in zip(random.integers(0, 400, 6000), item, strict=True)]
    rows = interactions(pairs, timestamp=(time * 1e8).astype(np.int64), rating=random.integers(1, 6, 6000))
    recipe = Recipe(split=split, val=0.1, test=0.2)
    case = Case(prepare(Memory(rows), recipe), recipe)
    code = case.prepared.items["item_id"].str[1:].astype(int).to_numpy()
    oracle = with_items(case, weight=weight[code], drift=drift[code], latest=(weight * np.exp(drift))[code])
    assert counted_columns(oracle) == []
    rows, train = case.rows, case.prepared.mask("train")
    of_train = count(rows.item[train], case.prepared.num_items)
    assert counted_columns(with_items(case, plays=of_train, log=np.log1p(of_train))) == []
    in_all = count(rows.item, case.prepared.num_items).astype(float)
    [finding] = counted_columns(with_items(case, plays=in_all, weight=weight[code]))
    assert "the column plays follows how many val and test rows an item has" in finding.message


def test_gaps_are_left_out_and_few_items_tell_nothing() -> None:
    case = clean("random")
    plays = count(case.rows.item, case.prepared.num_items).astype(float)
    plays[:20] = np.nan
    assert counted_columns(with_items(case, plays=plays))
    plays[20:35] = np.nan
    assert counted_columns(with_items(case, plays=plays)) == []
    tableless = replace(case, prepared=replace(case.prepared, items=case.prepared.items[["item_id", "title"]]))
    assert counted_columns(tableless) == "the items have no columns of numbers"


def test_only_texts_of_the_very_item_tell_of_a_row() -> None:
    case = clean("random")
    row = of(case, "test", 1)[0]
    user, item = case.prepared.users["user_id"][case.rows.user[row]], case.rows.item[row]
    stranger = next(i for i in range(60) if i not in case.rows.item[case.rows.user == case.rows.user[row]])
    texts = case.prepared.items["overview"].copy()
    texts[stranger] = f"{user} was here"
    assert named_users(with_items(case, overview=texts)) == []
    reviews = [[] for _ in range(60)]
    reviews[item] = ["fine", f"By {user}: not so fine"]
    [finding] = named_users(with_items(case, reviews=reviews))
    assert finding.count == 1 and finding.examples == case.pairs(np.array([row]))


def test_plain_numbers_are_no_names() -> None:
    case = clean("random")
    numbered = case.prepared.users.assign(user_id=[str(1000 + user) for user in range(80)])
    assert "plain numbers" in str(named_users(replace(case, prepared=replace(case.prepared, users=numbered))))


def test_columns_of_later_are_a_remark_where_models_are_given_them() -> None:
    case = clean("random")
    late = replace(case, prepared=replace(case.prepared, later=("meter", "box_office")))
    assert later_columns(late) == []
    [finding] = later_columns(replace(late, used=("year", "meter")))
    assert not finding.fault and finding.message.startswith("models are given meter: ")
