from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.metrics.ranking import (
    NO_ITEM,
    NonFiniteScores,
    average_precision,
    find_hits,
    hit_rate,
    mask,
    ndcg,
    pair_keys,
    precision,
    recall,
    reciprocal_rank,
    tie_priority,
    tie_priority_of,
    top_k,
)

INF = math.inf


def plain_top_k(scores: torch.Tensor, k: int, priority: torch.Tensor) -> list[list[int]]:
    """Sorting, row by row."""
    return [
        [i for i in sorted(range(len(row)), key=lambda i, row=row: (-row[i], int(priority[i])))[:k] if row[i] > -INF]
        for row in scores.tolist()
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 400), st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31))
def test_top_k_sorts_by_score_then_priority(rows: int, items: int, k: int, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (rows, items), generator=generator).float()
    scores[torch.rand(rows, items, generator=generator) < 0.2] = -INF
    priority = tie_priority(items, seed)
    expected = plain_top_k(scores, k, priority)
    ranked = top_k(scores, k, priority)
    assert [[i for i in row if i != NO_ITEM] for row in ranked.item.tolist()] == expected
    filled = ranked.item != NO_ITEM
    assert ranked.item.shape == ranked.score.shape == (rows, k)
    assert torch.equal(ranked.score > -INF, filled)
    assert torch.equal(ranked.score[filled], scores.gather(1, ranked.item.clamp(min=0))[filled])


@pytest.mark.parametrize("items", [100, 1000, 4099])
def test_top_k_of_distinct_scores_is_topk(items: int) -> None:
    scores = torch.randn(16, items, generator=torch.Generator().manual_seed(items), dtype=torch.float64)
    expected = scores.topk(10)
    ranked = top_k(scores, 10, tie_priority(items))
    assert torch.equal(ranked.item, expected.indices)
    assert torch.equal(ranked.score, expected.values)


def test_constant_scores_are_ranked_by_priority() -> None:
    priority = tie_priority(5000, seed=3)
    ranked = top_k(torch.zeros(3, 5000), 7, priority)
    assert ranked.item.tolist() == [priority.argsort()[:7].tolist()] * 3


def test_ties_among_some_items_fall_as_among_all() -> None:
    items = torch.tensor([3, 4, 9, 17, 30])
    own, all_of_them = tie_priority_of(items, 40, seed=5), tie_priority(40, seed=5)
    assert own.sort().values.tolist() == list(range(5))
    assert items[own.argsort()].tolist() == sorted(items.tolist(), key=lambda item: int(all_of_them[item]))


def test_priority_is_a_seeded_permutation() -> None:
    assert tie_priority(50, 1).sort().values.tolist() == list(range(50))
    assert torch.equal(tie_priority(50, 1), tie_priority(50, 1))
    assert not torch.equal(tie_priority(50, 1), tie_priority(50, 2))


def test_lists_longer_than_the_catalogue_are_padded() -> None:
    ranked = top_k(torch.tensor([[0.0, 2.0, -INF]]), 5, tie_priority(3))
    assert ranked.item.tolist() == [[1, 0, NO_ITEM, NO_ITEM, NO_ITEM]]
    assert ranked.score.tolist() == [[2.0, 0.0, -INF, -INF, -INF]]


def test_a_batch_of_nobody() -> None:
    assert top_k(torch.zeros(0, 9), 4, tie_priority(9)).item.shape == (0, 4)


@pytest.mark.parametrize("bad", [math.nan, INF])
@pytest.mark.parametrize("items", [3, 3000])
def test_scores_that_are_no_numbers_are_an_error(bad: float, items: int) -> None:
    scores = torch.zeros(4, items)
    scores[[1, 3], [2, 0]] = bad
    with pytest.raises(NonFiniteScores, match="2 users of a batch have scores that are NaN or"):
        top_k(scores, 2, tie_priority(items))
    with pytest.raises(NonFiniteScores, match="1 users of a batch"):
        mask(scores, torch.tensor([[1, 0], [2, 0]]))


def test_mask_hides_pairs_in_place() -> None:
    scores = torch.ones(2, 3)
    mask(scores, torch.tensor([[0, 1, 1], [2, 0, 1]], dtype=torch.int32))
    assert scores.tolist() == [[1, 1, -INF], [-INF, -INF, 1]]


def test_find_hits_looks_at_pairs() -> None:
    item = torch.tensor([[3, 1, NO_ITEM], [0, 3, 2]])
    relevant = pair_keys(torch.tensor([[1, 0, 1, 1], [3, 3, 1, 3]]), num_items=4)
    assert len(relevant) == 3
    assert find_hits(item, relevant, 4).tolist() == [[True, False, False], [False, True, False]]
    assert not find_hits(item, relevant[:0], 4).any()


def test_metrics_of_one_list() -> None:
    """Hits at ranks 2 and 3 of 4, three relevant items."""
    hits, num_relevant = torch.tensor([[False, True, True, False]]), torch.tensor([3])
    discount = [1 / math.log2(rank + 1) for rank in range(1, 5)]
    expected = {
        recall: 2 / 3,
        precision: 2 / 4,
        hit_rate: 1.0,
        reciprocal_rank: 1 / 2,
        average_precision: (1 / 2 + 2 / 3) / 3,
        ndcg: sum(discount[1:3]) / sum(discount[:3]),
    }
    for metric, value in expected.items():
        result = metric(hits, num_relevant)
        assert result.dtype == torch.float64
        assert result.tolist() == pytest.approx([value], abs=1e-12), metric.__name__


@pytest.mark.parametrize("metric", [recall, hit_rate, reciprocal_rank, average_precision, ndcg])
def test_the_best_list_has_value_one(metric: type) -> None:
    """More relevant items than places, or less: only recall then falls short."""
    hits = torch.tensor([[True, True, True], [True, False, False]])
    value = metric(hits, torch.tensor([3, 1]))
    assert value.tolist() == pytest.approx([1.0, 1.0])
    crowded = metric(hits[:1], torch.tensor([12]))
    assert crowded.tolist() == pytest.approx([3 / 12 if metric is recall else 1.0])


@pytest.mark.parametrize("metric", [recall, precision, hit_rate, reciprocal_rank, average_precision, ndcg])
def test_nothing_relevant_is_zero(metric: type) -> None:
    assert metric(torch.zeros(2, 3, dtype=torch.bool), torch.tensor([0, 0])).tolist() == [0.0, 0.0]
