from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys_lightning.data.interactions import Interactions
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.twins import answered, same_audience, same_history, same_title
from tests.data.memory import Memory, interactions


def audience(*sets: set[int]) -> Interactions:
    """Item j has the users of the j-th set."""
    pairs = [(user, item) for item, users in enumerate(sets) for user in sorted(users)]
    user, item = np.array(pairs, np.int32).T
    return Interactions(
        user, item, pa.array(map(str, range(int(user.max()) + 1))), pa.array(map(str, range(len(sets))))
    )


def test_titles_are_compared_without_case_and_spaces_and_ids_are_no_titles() -> None:
    titles = ["Heat", "heat ", "Alien", "4", "HEAT", ""]
    items = pd.DataFrame({"item_id": list("012345"), "title": titles}).assign(item_id=["0", "1", "2", "4", "5", "6"])
    assert same_title(items).tolist() == [[0, 1], [0, 4], [1, 4]]
    assert same_title(items, sure=True).tolist() == []


def test_attributes_tell_remakes_from_things_listed_twice() -> None:
    items = pd.DataFrame({"item_id": list("abcde"), "title": ["Heat"] * 5, "year": [1995, 1996, 1986, np.nan, np.nan]})
    assert same_title(items).tolist() == [[0, 1], [0, 3], [0, 4], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]]
    assert same_title(items, sure=True).tolist() == [[0, 1]]
    items["directors"] = [["Mann"], [], ["Burns"], ["Mann", "Another"], ["Burns"]]
    items["genres"] = [["Crime"], ["Crime"], ["Crime"], ["Crime"], ["Comedy"]]
    assert same_title(items).tolist() == [[0, 1], [0, 3], [1, 3]]
    assert same_title(items, sure=True).tolist() == [[0, 1], [0, 3]]
    few = pd.DataFrame({"item_id": ["1"], "title": ["Heat"]})
    assert same_title(few).shape == same_title(few[:0]).shape == (0, 2)


@pytest.mark.parametrize(("shared", "found"), [(100, True), (96, True), (80, False), (0, False)])
def test_audiences_are_compared_by_jaccard(shared: int, found: bool) -> None:
    rows = audience(set(range(100)), set(range(100 - shared, 200 - shared)), set(range(300, 400)))
    assert same_audience(rows).tolist() == ([[0, 1]] if found else [])


def test_small_audiences_coincide_by_chance_and_are_passed_over() -> None:
    rows = audience(set(range(10)), set(range(10)), set(range(30)))
    assert same_audience(rows).tolist() == []
    assert same_audience(rows, least_users=5).tolist() == [[0, 1]]


def test_users_are_compared_by_their_items_as_items_by_their_users() -> None:
    rows = audience(set(range(30)), set(range(1, 31)), set(range(60, 90)))
    turned = Interactions(rows.item, rows.user, rows.item_ids, rows.user_ids)
    assert same_history(turned).tolist() == same_audience(rows).tolist() == [[0, 1]]
    assert same_history(turned, similarity=1).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_twins_are_those_of_the_definition(seed: int) -> None:
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


@pytest.mark.parametrize("seed", range(5))
def test_what_twins_tell_is_what_a_search_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    item, user = random.integers(0, 8, 60).astype(np.int32), random.integers(0, 10, 60).astype(np.int32)
    seen = random.random(60) < 0.6
    pairs = np.array([[0, 1], [1, 2], [5, 6]])
    twins = {(a, b) for a, b in pairs.tolist()} | {(b, a) for a, b in pairs.tolist()}
    known = {(i, u) for i, u in zip(item[seen].tolist(), user[seen].tolist(), strict=True)}
    expected = [not seen[row] and any((a, user[row]) in known for a, b in twins if b == item[row]) for row in range(60)]
    assert answered(item, user, seen, ~seen, pairs).tolist() == expected
    assert not answered(item, user, seen, ~seen, pairs[:0]).any()
