from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.losses import bpr
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
