from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import CSR, History, Views
from tests.worlds import blocks, csr

MATRICES = st.integers(0, 10**6).map(lambda seed: torch.rand(7, 5, generator=torch.Generator().manual_seed(seed)) < 0.3)


@given(MATRICES)
def test_a_row_and_a_degree_for_each_entry(matrix: Tensor) -> None:
    rows = csr(matrix)
    assert torch.equal(rows.degree, matrix.sum(1))
    assert torch.equal(torch.stack([rows.row, rows.col]), matrix.nonzero().T)


@given(MATRICES, st.lists(st.integers(0, 6), max_size=9))
def test_select_takes_whole_rows_in_the_order_asked_for_also_twice_or_none(matrix: Tensor, chosen: list[int]) -> None:
    rows = torch.tensor(chosen, dtype=torch.long)
    assert torch.equal(csr(matrix).select(rows), matrix[rows].nonzero().T)


def test_popularity_counts_the_users_of_each_item() -> None:
    matrix = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0]])
    assert Views(csr(matrix), num_items=4).popularity.tolist() == [2, 0, 1, 0]


def test_what_is_derived_is_built_once() -> None:
    views, calls = blocks()[1], []

    def build(given: Views) -> int:
        calls.append(given)
        return len(calls)

    assert [views.derive(build), views.derive(build)] == [1, 1]
    assert calls == [views]


def test_graph_and_histories_are_built_when_asked_for() -> None:
    asked = []
    history = History(*(torch.zeros(2, 3) for _ in range(4)))

    def build() -> History:
        asked.append(True)
        return history

    views = Views(csr(torch.eye(2)), 2, build_history=build)
    assert not asked
    assert all(map(torch.equal, views.history, history))
    assert views.history is views.history and len(asked) == 1
    with pytest.raises(RuntimeError, match="without a graph"):
        _ = views.graph
    with pytest.raises(RuntimeError, match="without histories"):
        _ = Views(csr(torch.eye(2)), 2).history


def test_views_stay_themselves_where_they_lie_already() -> None:
    views = blocks()[1]
    assert views.to("cpu") is views
    assert views.device == torch.device("cpu")
    elsewhere = views.to("meta")
    assert elsewhere.train.col.device.type == "meta" and elsewhere.num_users == views.num_users


def test_rows_may_be_empty() -> None:
    nothing = CSR(torch.zeros(4, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert nothing.degree.tolist() == [0, 0, 0]
    assert nothing.select(torch.tensor([2, 0])).shape == (2, 0)
