from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys_lightning.data.audit.pairs import books, duplicates, index_order, overlap
from tests.data.audit.worlds import added, clean, of


def test_each_split_and_each_two_of_them_are_counted_by_themselves() -> None:
    case = clean("random")
    assert duplicates(case) == overlap(case) == books(case) == index_order(case) == []
    test, val, train = of(case, "test", 4), of(case, "val", 2), of(case, "train", 5)
    spoilt = added(added(added(added(case, test, split="train"), val, split="test"), train), train[:1])
    assert [(found.count, found.message) for found in overlap(spoilt)] == [
        (4, "4 (user, item) pairs stand in train and in test"),
        (2, "2 (user, item) pairs stand in val and in test"),
    ]
    [repeated] = duplicates(spoilt)
    assert repeated.count == 6 and repeated.message == "6 rows of train repeat a (user, item) pair of train"
    assert set(repeated.examples) <= set(spoilt.pairs(train))
    assert set(overlap(spoilt)[0].examples) == set(case.pairs(test))


def test_books_tell_which_split_lost_what() -> None:
    case = clean("random")
    lost = np.ones(len(case.rows), np.bool_)
    lost[of(case, "val", 2)] = False
    found = books(replace(case, prepared=replace(case.prepared, interactions=case.rows.take(lost))))
    assert found[0].count == 2 and found[0].message.startswith("val was made of ")
    assert len(found) == 2 and f"{case.prepared.fingerprint[:16]} is written on them" in found[1].message


def test_items_that_train_lacks_come_after_those_of_train() -> None:
    case = clean("item_cold", val=5, test=5)
    assert index_order(case) == []
    rows = case.rows
    flipped = replace(rows, item=(rows.num_items - 1 - rows.item).astype(np.int32), item_ids=rows.item_ids[::-1])
    [found] = index_order(replace(case, prepared=replace(case.prepared, interactions=flipped)))
    assert found.message == "items unseen in train stand before those of train" and found.count == 10
