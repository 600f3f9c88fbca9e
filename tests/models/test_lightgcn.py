from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.losses.ranking import bpr
from recsys_lightning.models import LightGCN
from tests import worlds
from tests.models.contract import TrainedContract


def oracle(model: LightGCN, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The paper's matrix form, dense: the mean of e, Ae, AAe, ..."""
    num_users, num_items = matrix.shape
    adjacency = matrix.new_zeros(num_users + num_items, num_users + num_items, dtype=model.user.dtype)
    adjacency[:num_users, num_users:] = matrix.to(adjacency)
    adjacency[num_users:, :num_users] = matrix.T.to(adjacency)
    scale = adjacency.sum(1).pow(-0.5)
    scale[scale.isinf()] = 0
    adjacency = scale[:, None] * adjacency * scale
    layers = [torch.cat([model.user, model.item])]
    for _ in range(model.layers):
        layers.append(adjacency @ layers[-1])
    mean = torch.stack(layers).mean(0)
    return mean[:num_users], mean[num_users:]


class TestLightGCN(TrainedContract):
    model = LightGCN
    options = {"dim": 8}  # noqa: RUF012

    @given(layers=st.integers(0, 4), seed=st.integers(0, 99), density=st.sampled_from([0.0, 0.05, 0.3, 1.0]))
    @settings(max_examples=40, deadline=None)
    def test_scores_and_gradients_equal_the_dense_form(self, layers: int, seed: int, density: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.rand(13, 11, generator=generator) < density
        model = LightGCN(worlds.schema(13, 11), dim=5, layers=layers).double()
        user, item = torch.randint(13, (29,), generator=generator), torch.randint(11, (29,), generator=generator)
        negative = torch.randint(11, (29, 2), generator=generator)

        users, items = oracle(model, matrix)
        expected = bpr((users[user] * items[item]).sum(-1), (users[user, None] * items[negative]).sum(-1))
        gradients = torch.autograd.grad(expected, [model.user, model.item])

        state = model.encode(Views(worlds.csr(matrix), 11))
        u = model.users(state, user)
        loss = bpr(model.score(u, model.items(state, item)), model.score(u[:, None], model.items(state, negative)))
        torch.testing.assert_close(loss, expected, atol=1e-12, rtol=1e-12)
        for actual, wanted in zip(torch.autograd.grad(loss, [model.user, model.item]), gradients, strict=True):
            torch.testing.assert_close(actual, wanted, atol=1e-12, rtol=0)
        torch.testing.assert_close(model.score_all(model.users(state, user), state), users[user] @ items.T)

    def test_without_layers_it_is_matrix_factorisation(self) -> None:
        matrix = self.matrix()
        model = LightGCN(worlds.schema(*matrix.shape), dim=8, layers=0)
        torch.testing.assert_close(self.scores(model, self.views(matrix)), (model.user @ model.item.T).detach())

    def test_parameters_start_as_the_authors_do(self) -> None:
        torch.manual_seed(0)
        model = LightGCN(worlds.schema(500, 400))
        for parameter in (model.user, model.item):
            assert parameter.shape[1] == 64
            assert parameter.std().item() == pytest.approx(0.1, rel=0.02)

    def test_layers_out_of_range(self) -> None:
        with pytest.raises(InputError, match=r"at least 0 layers, and was given -1\."):
            LightGCN(worlds.schema(2, 2), layers=-1)

    def world(self, layers: int) -> tuple[LightGCN, Views, Tensor]:
        """A model in float64, views, and the dense matrix."""
        matrix = self.matrix()
        torch.manual_seed(0)
        return LightGCN(worlds.schema(*matrix.shape), dim=5, layers=layers).double(), self.views(matrix), matrix

    @pytest.mark.parametrize("layers", [0, 1, 3])
    def test_weighed_messages_equal_the_dense_form_and_so_do_their_gradients(self, layers: int) -> None:
        model, views, matrix = self.world(layers)
        weight = torch.rand(int(matrix.sum()), dtype=torch.float64, requires_grad=True)
        state = model.encode_weighed(views, {model.rates: weight})
        user, item = torch.tensor([0, 4, 4]), torch.tensor([2, 2, 7])
        score = model.score(model.users(state, user), model.items(state, item)).sum() + model.items(state)[3].sum()

        degree = matrix.sum(1, keepdim=True) * matrix.sum(0, keepdim=True)
        block = torch.zeros(matrix.shape, dtype=torch.float64).index_put(tuple(matrix.nonzero().T), weight)
        block = block * degree.clamp(min=1).double().rsqrt()
        total = [u, i] = [model.user, model.item]
        for _ in range(layers):
            u, i = block @ i, block.T @ u
            total = [total[0] + u, total[1] + i]
        users, items = (table / (layers + 1) for table in total)
        expected = (users[user] * items[item]).sum() + items[3].sum()
        torch.testing.assert_close(score, expected, atol=1e-12, rtol=1e-12)
        if layers:
            wanted = torch.autograd.grad(expected, weight)[0]
            torch.testing.assert_close(torch.autograd.grad(score, weight)[0], wanted, atol=1e-12, rtol=1e-12)

    def test_weights_of_one_or_of_other_edge_types_change_nothing(self) -> None:
        model, views, matrix = self.world(3)
        plain = model.encode(views)
        for weight in ({}, {model.rates: torch.ones(int(matrix.sum()), dtype=torch.float64)}):
            for actual, expected in zip(model.encode_weighed(views, weight), plain, strict=True):
                torch.testing.assert_close(actual, expected)

    @pytest.mark.parametrize("layers", [0, 1, 3])
    def test_contributions_are_last_messages_to_the_user(self, layers: int) -> None:
        model, views, matrix = self.world(layers)
        state, item = model.encode(views), torch.tensor([0, 9])
        for user in (4, 3):  # user 3 has nothing
            own, value, rest = model.contributions(views, state, user, item)
            assert torch.equal(own, matrix[user].nonzero()[:, 0])
            torch.testing.assert_close(value.sum(1) + rest, state.item[item] @ state.user[user])
            torch.testing.assert_close(rest, state.item[item] @ model.user[user] / (layers + 1))
        own, value, _ = model.contributions(views, state, 4, item)
        if layers == 1:
            norm = (matrix[4].sum() * matrix.sum(0)[own]).double().rsqrt()
            torch.testing.assert_close(value, state.item[item] @ (model.item[own] * norm[:, None] / 2).T)
