from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.errors import InputError
from recsys_lightning.metrics.ranking import tie_priority, top_k
from recsys_lightning.serving.search import BLOCK, Faiss, among, best


@given(st.integers(1, 4 * BLOCK), st.integers(1, 30), st.integers(1, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_lists_are_those_of_the_evaluation_however_many_scores_are_equal(
    items: int, k: int, levels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, items).astype(np.float32)
    scores[random.random(items) < 0.1] = -np.inf
    priority = tie_priority(items)
    expected = top_k(torch.from_numpy(scores)[None], k, priority)
    found = best(scores, k, priority.numpy())
    left = int((expected.item[0] >= 0).sum())
    assert found.item.tolist() == expected.item[0, :left].tolist()
    assert found.score.tolist() == expected.score[0, :left].tolist()


def test_among_some_items_only() -> None:
    priority = np.array([3, 2, 1, 0, 4])
    found = among(np.array([4, 0, 2]), np.array([1.0, 1.0, 1.0], np.float32), 2, priority)
    assert found.item.tolist() == [2, 0]
    assert len(among(np.array([1]), np.array([-np.inf], np.float32), 2, priority).item) == 0


def test_the_index_finds_most_of_what_is_best() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, 16))
    items = (centres[random.integers(0, 20, 5000)] + 0.3 * random.normal(size=(5000, 16))).astype(np.float32)
    wanted = items[:50]
    scores, found = Faiss(items).find(wanted, 10)
    exact = np.argsort(-(wanted @ items.T), 1)[:, :10]
    recall = np.mean([len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(found, exact, strict=True)])
    assert recall > 0.8
    assert scores[:, 0] == pytest.approx(np.einsum("bd,bd->b", wanted, items[found[:, 0]]), rel=1e-4)
    again = Faiss(items).find(wanted, 10)
    assert np.array_equal(again[1], found)


def test_without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install recsys-lightning\[serve\]"):
        Faiss(np.zeros((3, 2), np.float32))


def test_an_index_leaves_the_number_of_threads_alone() -> None:
    assert torch.get_num_threads() == 1  # of the session
    Faiss(np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32))
    assert torch.get_num_threads() == 1
