from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.models import profiles
from recsys_lightning.models.profiles import Own, Profile, ancestors, interactions, own_items, profile
from tests import worlds
from tests.models import typed
from tests.models.typed import GENRE, I, U, World

CLOSE = {"atol": 1e-6, "rtol": 1e-5}


def found(world: World) -> tuple[Own, Profile]:
    weighted = interactions(world.schema)
    size = world.schema.num_nodes["genre"]
    return world.views.derive(own_items(weighted)), world.views.derive(profile(GENRE, size, weighted))


def shares(world: World) -> tuple[Tensor, Tensor]:
    """Of values in items (I, V), and of items in users (U, I)."""
    genre = world.values["genre"].double()
    return genre / genre.sum(1, keepdim=True).clamp(min=1), world.matrix / world.matrix.sum(1, keepdim=True).clamp(
        min=1e-9
    )


@pytest.mark.parametrize("weighted", [False, True])
class TestOwn:
    def test_means_are_over_the_visible_items(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        own, table = found(world)[0], torch.randn(I, 4, dtype=torch.float64)
        expected = shares(world)[1] @ table
        assert not expected[3].any()
        torch.testing.assert_close(own.mean(table), expected, **CLOSE)
        user = torch.tensor([7, 3, 7, 0])
        torch.testing.assert_close(own.mean(table, user), expected[user], **CLOSE)

    def test_factors_count_in_what_is_summed_alone(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        own, table = found(world)[0], torch.randn(I, 4, dtype=torch.float64)
        factor = torch.rand(len(own.key), dtype=torch.float64)
        scale = torch.zeros_like(world.matrix).index_put(tuple(world.matrix.nonzero().T), factor)
        expected = (shares(world)[1] * scale) @ table
        torch.testing.assert_close(own.mean(table, None, factor), expected, **CLOSE)
        user = torch.tensor([7, 3, 0])
        torch.testing.assert_close(own.mean(table, user, factor), expected[user], **CLOSE)

    def test_weights_of_pairs(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        user, item = torch.cartesian_prod(torch.arange(U), torch.arange(I)).T
        weight, total = found(world)[0].weights(user, item)
        torch.testing.assert_close(weight.double(), world.matrix.flatten(), **CLOSE)
        torch.testing.assert_close(total.double(), world.matrix.sum(1)[user], **CLOSE)

    def test_activity_is_of_the_number_of_items(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        degree = (world.matrix > 0).sum(1)
        expected = (1 + degree).log() / (1 + degree.max()).log()
        torch.testing.assert_close(found(world)[0].activity, expected.float(), **CLOSE)
        assert found(world)[0].activity[3] == 0

    def test_affinities_and_diversity_are_of_the_shares(self, weighted: bool) -> None:
        world = typed.world(weighted=weighted)
        own, genre = found(world)
        strength, share = shares(world)
        expected = torch.stack([sum(share[u, i] * strength[i] for i in range(I)) for u in range(U)])  # type: ignore[misc]
        user = torch.tensor([4, 3, 4, 22])
        torch.testing.assert_close(genre.affinities(own, user).double(), expected[user], **CLOSE)
        for u in range(U):
            p = [s / expected[u].sum().item() for s in expected[u].tolist() if s > 0]
            entropy = -sum(s * math.log(s) for s in p) / math.log(len(expected[u]))
            assert genre.diversity[u].item() == pytest.approx(entropy, abs=1e-5)

    def test_no_rows_at_all(self, weighted: bool) -> None:
        own, genre = found(typed.world(weighted=weighted, matrix=torch.zeros(U, I, dtype=torch.bool)))
        index = torch.tensor([0, 5])
        assert not any(part.any() for part in own.weights(index, index))
        for facts in (own.activity, genre.diversity, own.mean(torch.ones(I, 2)), genre.affinities(own, index)):
            assert not facts.any()


class TestProfile:
    def test_means_and_strengths_are_equal_shares_of_an_items_values(self) -> None:
        world = typed.world()
        genre, strength = found(world)[1], shares(world)[0]
        assert not strength[2].any()
        table = torch.randn(5, 4, dtype=torch.float64)
        torch.testing.assert_close(genre.mean(table), strength @ table, **CLOSE)
        item = torch.tensor([16, 2, 16, 0])
        torch.testing.assert_close(genre.strengths(item).double(), strength[item], **CLOSE)

    def test_factors_are_in_the_order_of_the_relation_it_names(self) -> None:
        from recsys_lightning.models.relations import in_target_order, relations

        world = typed.world()
        genre, strength = found(world)[1], shares(world)[0]
        item, value = world.views.graph[GENRE].edge_index
        weight = torch.rand(len(item), dtype=torch.float64)
        factors = in_target_order(world.views, world.views.derive(relations(world.schema)), {GENRE: weight})
        scale = torch.zeros_like(strength).index_put((item, value), weight)
        table = torch.randn(5, 4, dtype=torch.float64)
        torch.testing.assert_close(genre.mean(table, factors[genre.heard]), (strength * scale) @ table, **CLOSE)

    @pytest.mark.parametrize("block", [1, 7, 1 << 24])
    def test_diversity_does_not_depend_on_the_block(self, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = found(typed.world())[1].diversity
        monkeypatch.setattr(profiles, "BLOCK", block)
        torch.testing.assert_close(found(typed.world())[1].diversity, expected)

    @pytest.mark.parametrize("size", [0, 1])
    def test_fewer_than_two_values_are_no_diversity(self, size: int) -> None:
        world = typed.world(values={"genre": torch.ones(I, size, dtype=torch.bool), "director": torch.ones(I, 8)})
        own, genre = found(world)
        assert not genre.diversity.any()
        assert genre.mean(torch.ones(size, 3)).sum() == 3 * I * size
        assert genre.affinities(own, torch.tensor([0])).shape == (1, size)


class TestAncestors:
    def rows(self, pairs: Tensor, size: int) -> list[list[int]]:
        from torch_geometric.data import HeteroData

        graph = HeteroData()
        graph["genre", "is_a", "genre"].edge_index = pairs
        views = Views(worlds.csr(torch.ones(1, 1)), 1, build_graph=lambda: graph)
        rows = views.derive(ancestors(("genre", "is_a", "genre"), size))
        return [rows.col[rows.row == value].tolist() for value in range(size)]

    def test_each_is_counted_once_however_many_ways_lead_there(self) -> None:
        expected = [[0, 1, 2, 3, 4], [1, 3, 4], [2, 3, 4], [3, 4], [4], [5]]
        assert self.rows(typed.DIAMOND, 6) == expected
        assert self.rows(typed.DIAMOND[:, [3, 0, 4, 2, 1]], 6) == expected

    def test_without_parents_there_are_none_but_oneself(self) -> None:
        assert self.rows(torch.empty(2, 0, dtype=torch.long), 3) == [[0], [1], [2]]

    def test_a_long_chain(self) -> None:
        chain = torch.stack([torch.arange(9), torch.arange(1, 10)])
        assert self.rows(chain, 10) == [list(range(value, 10)) for value in range(10)]
