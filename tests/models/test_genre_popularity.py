from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import GenrePopularity, Recommender
from recsys_lightning.reports.floors import FLOORS
from tests import worlds
from tests.models import contract, graphs
from tests.models.contract import ClosedFormContract


def oracle(matrix: Tensor, genres: Tensor) -> Tensor:
    """The definition, user by user and item by item."""
    count = matrix.sum(0).double()
    popularity = [count[genres[:, g] & (count > 0)].mean().nan_to_num(0) for g in range(genres.shape[1])]
    scores = torch.zeros(matrix.shape, dtype=torch.float64)
    for u, own in enumerate(matrix):
        share = [
            sum(1 / genres[j].sum() for j in own.nonzero()[:, 0] if genres[j, g]) / own.sum()
            for g in range(genres.shape[1])
        ]
        for i, row in enumerate(genres):
            terms = [share[g] * popularity[g] for g in row.nonzero()[:, 0]]
            scores[u, i] = sum(terms) if own.any() else 0
    return scores


class TestGenrePopularity(ClosedFormContract):
    model = GenrePopularity

    @pytest.fixture(autouse=True)
    def _genres_in_every_schema(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contract, "worlds", SimpleNamespace(csr=worlds.csr, schema=graphs.schema))

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return graphs.views(matrix, item_order)

    def build(self, matrix: Tensor, seed: int = 0) -> Recommender:
        model = GenrePopularity(graphs.schema(*matrix.shape))
        model.fit(self.views(matrix))
        return model

    def test_order_of_users_and_items_changes_nothing(self) -> None:
        matrix = self.matrix()
        generator = torch.Generator().manual_seed(5)
        user, item = (torch.randperm(size, generator=generator) for size in matrix.shape)
        views = self.views(matrix[user][:, item], item)
        twin = GenrePopularity(graphs.schema(*matrix.shape))
        twin.fit(views)
        before = self.scores(self.build(matrix), self.views(matrix))
        torch.testing.assert_close(self.scores(twin, views), before[user][:, item])

    def test_equals_the_definition(self) -> None:
        matrix = self.matrix()
        expected = oracle(matrix, graphs.attributes(contract.I)["genre"])
        assert expected.any()
        scores = self.scores(self.build(matrix), self.views(matrix))
        torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=1e-5)


def test_an_item_nobody_has_is_scored_by_its_genres_alone() -> None:
    matrix = torch.rand(12, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    matrix[:, [4, 5]] = False
    values = {kind: owned.clone() for kind, owned in graphs.attributes(9).items()}
    values["genre"][4] = values["genre"][0]
    views = Views(worlds.csr(matrix), 9, build_graph=lambda: graphs.heterograph(matrix, values))
    model = GenrePopularity(graphs.schema(12, 9))
    model.fit(views)
    state = model.encode(views)
    scores = model.score_all(model.users(state, torch.arange(12)), state)
    assert values["genre"][0].any() and scores[:, 0].any()
    torch.testing.assert_close(scores[:, 4], scores[:, 0])
    assert not scores[:, 2].any()  # it has no genre


def test_cold_items_do_not_make_their_genres_less_popular() -> None:
    matrix = torch.ones(4, 3, dtype=torch.bool)
    matrix[:, 2] = False
    values = {"genre": torch.tensor([[True, False], [False, True], [True, False]])}
    schema = graphs.schema(4, 3)
    schema = replace(schema, num_nodes={"user": 4, "item": 3, "genre": 2}, edge_types=schema.edge_types[:4])
    views = Views(worlds.csr(matrix), 3, build_graph=lambda: graphs.heterograph(matrix, values))
    model = GenrePopularity(schema)
    model.fit(views)
    assert model.popularity.tolist() == [4.0, 4.0]


def test_tags_stand_for_genres_where_there_are_none() -> None:
    plain = worlds.schema(2, 2)
    schema = replace(plain, num_nodes={**plain.num_nodes, "artist": 3, "tag": 4})
    assert GenrePopularity(schema).kind == "tag"
    assert GenrePopularity(replace(schema, num_nodes={**schema.num_nodes, "genre": 2})).kind == "genre"


def test_without_genres_it_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"needs nodes of type genre or tag, and the graph of world has none\. Choose"):
        GenrePopularity(worlds.schema(2, 2))


def test_it_is_no_floor_of_every_report() -> None:
    assert GenrePopularity not in FLOORS
