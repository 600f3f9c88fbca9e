from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.data.text.controls import partners, randomised, shuffled
from recsys_lightning.data.text.item_text import ItemText


def numbered(items: int) -> ItemText:
    """Item i has overview (i + 1, 1), and i % 3 reviews (i + 1, 2)."""
    own = np.arange(1, items + 1, dtype=np.float32)
    item = np.repeat(np.arange(items), np.arange(items) % 3)
    overview = np.stack([own, np.ones(items, np.float32)], 1)
    return ItemText.of(overview, np.stack([own[item], np.full(len(item), 2, np.float32)], 1), item)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 5))
def test_each_item_gets_all_of_another_one_of_its_group(train: list[bool], seed: int) -> None:
    known = np.array(train)
    text = numbered(len(known))
    moved = shuffled(text, known, seed)
    giver = moved.overview[:, 0].astype(int) - 1
    assert sorted(giver) == list(range(len(known)))
    assert (known[giver] == known).all()
    for group in (known, ~known):
        if group.sum() > 1:
            assert (giver != np.arange(len(known)))[group].all()
    assert np.diff(moved.crow).tolist() == (giver % 3).tolist()
    assert (moved.review[:, 0] == np.repeat(moved.overview[:, 0], np.diff(moved.crow))).all()


def test_nobody_is_its_own_partner() -> None:
    found = partners(np.arange(6) < 4, 0)
    assert sorted(found[:4]) == [0, 1, 2, 3] and found[4:].tolist() == [5, 4]
    assert (found != np.arange(6)).all()


def test_the_seed_decides() -> None:
    known = np.arange(20) < 12
    one, same, other = (shuffled(numbered(20), known, seed).digest for seed in (0, 0, 1))
    assert one == same != other
    one, same, other = (randomised(numbered(20), seed).digest for seed in (0, 0, 1))
    assert one == same != other


def test_items_outside_of_train_change_nothing_within() -> None:
    """G5: those of train come first."""
    few, many = (shuffled(numbered(size), np.arange(size) < 10, 0) for size in (12, 20))
    assert (few.overview[:10] == many.overview[:10]).all()
    few, many = (randomised(numbered(size), 0) for size in (12, 20))
    assert (few.overview[:10] == many.overview[:10]).all() and (few.review[:9] == many.review[:9]).all()


def test_random_vectors_keep_lengths_and_gaps_only() -> None:
    overview = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    overview[::7] = 0
    text = ItemText.of(overview, overview[1:3] * 9, np.array([4, 4]))
    noise = randomised(text, 0)
    assert noise.overview.dtype == np.float32 and (noise.known == text.known).all()
    assert np.linalg.norm(noise.overview, axis=1) == pytest.approx(np.linalg.norm(overview, axis=1), rel=1e-5)
    assert np.linalg.norm(noise.review, axis=1) == pytest.approx(np.linalg.norm(text.review, axis=1), rel=1e-5)
    known = text.known
    cosine = (noise.overview * overview)[known].sum(1) / (overview[known] ** 2).sum(1)
    assert abs(cosine.mean()) < 0.05 and cosine.std() < 0.3
