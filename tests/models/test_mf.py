from __future__ import annotations

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.models import MF
from tests import worlds
from tests.models.contract import TrainedContract


class TestMF(TrainedContract):
    model = MF
    options = {"dim": 8}  # noqa: RUF012

    def test_score_is_the_dot_product_of_embeddings(self) -> None:
        matrix = self.matrix()
        model = self.build(matrix)
        assert torch.equal(self.scores(model, self.views(matrix)), model.user @ model.item.T)

    def test_penalty_is_half_the_squared_norm_over_the_batch(self) -> None:
        model = self.build(self.matrix())
        state = model.encode(self.views(self.matrix()))
        user, item, negative = torch.tensor([1, 1]), torch.tensor([2, 3]), torch.tensor([[4, 5], [4, 4]])
        rows = [model.user[1], model.user[1], model.item[2], model.item[3], *model.item[negative.flatten()]]
        expected = sum(float(row.detach().square().sum()) for row in rows) / 2 / 2
        assert model.penalty(state, user, item, negative).item() == pytest.approx(expected, rel=1e-6)

    def test_width_out_of_range(self) -> None:
        with pytest.raises(InputError, match=r"MF needs a dim of at least 1, and was given 0\."):
            MF(worlds.schema(2, 2), dim=0)
