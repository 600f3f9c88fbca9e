from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import CSR, History, Text, Views
from recsys_lightning.errors import InputError
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


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_within_keeps_the_entries_of_some_indices(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (int(torch.randint(1, 12, (1,), generator=generator)) for _ in range(2))
    matrix = torch.rand(rows, columns, generator=generator) < 0.4
    inside = torch.rand(columns, generator=generator) < 0.5
    inside[int(torch.randint(columns, (1,), generator=generator))] = True
    found = csr(matrix).within(inside.nonzero()[:, 0])
    wanted = csr(matrix[:, inside])
    assert torch.equal(found.crow, wanted.crow) and torch.equal(found.col, wanted.col)


DOMAIN = torch.tensor([0, 1, 0, 2])


def test_members_are_the_items_of_each_domain() -> None:
    views = Views(csr(torch.eye(3, 4)), 4, domain=DOMAIN)
    assert [items.tolist() for items in views.members] == [[0, 2], [1], [3]]
    assert views.members is views.members
    assert [items.tolist() for items in Views(csr(torch.eye(3, 4)), 4).members] == [[0, 1, 2, 3]]


def test_rows_are_counted_by_user_and_domain() -> None:
    matrix = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]])
    views = Views(csr(matrix), 4, domain=DOMAIN)
    assert views.rows_in_domains.tolist() == [[2, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert views.rows_in_domains is views.rows_in_domains
    assert Views(csr(matrix), 4).rows_in_domains.tolist() == [[3], [0], [2]]
    fewer = views.without(torch.tensor([0, 4]))
    assert fewer.rows_in_domains.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


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
    history = History(*(torch.zeros(2, 3) for _ in range(5)), by_place=torch.tensor(False))

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
    with pytest.raises(RuntimeError, match="without texts"):
        _ = views.text


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


def test_texts_are_built_when_asked_for_and_stay_when_rows_go() -> None:
    text = Text(torch.ones(2, 3), torch.tensor([True, False]), torch.ones(4, 3), torch.tensor([0, 1, 4]))
    views = Views(csr(torch.eye(2)), 2, build_text=lambda: text)
    assert all(map(torch.equal, views.text, text)) and views.text.num_reviews.tolist() == [1, 3]
    assert all(map(torch.equal, views.without(torch.tensor([0])).text, text))
    assert views.to("meta").text.review.device.type == "meta"


@given(MATRICES, st.data())
def test_views_without_rows_are_those_of_a_matrix_without_them(matrix: Tensor, data: st.DataObject) -> None:
    views = Views(csr(matrix), 5)
    dropped = data.draw(st.lists(st.sampled_from(range(len(views.train.col))))) if len(views.train.col) else []
    left = matrix.clone()
    left[views.train.row[dropped], views.train.col[dropped]] = False
    thinner = views.without(torch.tensor(dropped, dtype=torch.long))
    assert all(map(torch.equal, thinner.train, csr(left)))
    assert torch.equal(thinner.popularity, left.sum(0))
    assert torch.equal(views.train.col, csr(matrix).col)


def test_the_graph_loses_the_same_rows_and_attributes_in_both_directions() -> None:
    from torch_geometric.data import HeteroData

    matrix = torch.tensor([[1, 0, 1], [1, 1, 0]])
    rows = csr(matrix)

    def build() -> HeteroData:
        graph = HeteroData()
        graph["user"].num_nodes, graph["movie"].num_nodes, graph["genre"].num_nodes = 2, 3, 2
        edges = {
            ("user", "rates", "movie"): matrix.nonzero().T,
            ("movie", "has_genre", "genre"): torch.tensor([[0, 1], [1, 0]]),
        }
        edges["genre", "is_a", "genre"] = torch.tensor([[0], [1]])
        for (source, name, target), index in edges.items():
            graph[source, name, target].edge_index = index
            if source != target:
                graph[target, f"rev_{name}", source].edge_index = index.flip(0)
        for edge_type in (("user", "rates", "movie"), ("movie", "rev_rates", "user")):
            graph[edge_type].weight = torch.arange(1.0, 5.0)
        return graph

    views = Views(rows, 3, build)
    thinner = views.without(torch.tensor([1, 2]), {("movie", "has_genre", "genre"): torch.tensor([0])})
    assert thinner.graph["user", "rates", "movie"].edge_index.tolist() == [[0, 1], [0, 1]]
    for edge_type in (("user", "rates", "movie"), ("movie", "rev_rates", "user")):
        assert thinner.graph[edge_type].weight.tolist() == [1.0, 4.0]
    assert thinner.graph["movie", "has_genre", "genre"].edge_index.tolist() == [[1], [0]]
    assert thinner.graph["genre", "rev_has_genre", "movie"].edge_index.tolist() == [[0], [1]]
    assert views.graph["movie", "has_genre", "genre"].num_edges == 2
    assert thinner.graph["genre", "is_a", "genre"].num_edges == 1
    assert thinner.graph["movie"].num_nodes == 3


def test_rows_of_domains_leave_the_graph_of_their_own_domain() -> None:
    from torch_geometric.data import HeteroData

    matrix, domain = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]]), torch.tensor([1, 0, 1, 0])

    def build() -> HeteroData:
        graph = HeteroData()
        graph["user"].num_nodes, graph["item"].num_nodes = 2, 4
        for code, name in enumerate(("film", "book")):
            edges = (matrix * (domain == code)).nonzero().T
            graph["user", f"rates_{name}", "item"].edge_index = edges
            graph["item", f"rev_rates_{name}", "user"].edge_index = edges.flip(0)
        return graph

    thinner = Views(csr(matrix), 4, build, domain=domain).without(torch.tensor([0, 3, 5]))
    assert thinner.train.col.tolist() == [1, 2, 2]
    left = {"film": [[0], [1]], "book": [[0, 1], [2, 2]]}
    for name, edges in left.items():
        assert thinner.graph["user", f"rates_{name}", "item"].edge_index.tolist() == edges
        assert thinner.graph["item", f"rev_rates_{name}", "user"].edge_index.tolist() == edges[::-1]


def test_histories_without_rows_are_refused() -> None:
    history = History(*(torch.zeros(2, 3) for _ in range(5)), by_place=torch.tensor(False))
    views = Views(csr(torch.eye(2)), 2, build_history=lambda: history).without(torch.tensor([0]))
    with pytest.raises(InputError, match="reads histories"):
        _ = views.history
    with pytest.raises(RuntimeError, match="without a graph"):
        _ = views.graph
