from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models import GFCF, gfcf
from tests import worlds
from tests.models.contract import ClosedFormContract


def oracle(matrix: Tensor, factors: int, alpha: float) -> Tensor:
    """The paper's equation with dense matrices."""
    r = matrix.double().numpy()
    user, item = (np.maximum(r.sum(axis), 1) for axis in (1, 0))
    n = r / np.sqrt(user[:, None] * item)
    v = np.linalg.svd(n, full_matrices=False)[2][:factors].T
    ideal = (v / np.sqrt(item)[:, None]) @ (v.T * np.sqrt(item))
    return torch.from_numpy(r @ (n.T @ n + alpha * ideal))


class TestGFCF(ClosedFormContract):
    model = GFCF
    options = {"factors": 6}  # noqa: RUF012

    @pytest.mark.parametrize(("factors", "alpha"), [(1, 0.3), (8, 0.3), (8, 0.0), (30, 2.0), (256, 0.3)])
    def test_equals_the_definition(self, factors: int, alpha: float) -> None:
        matrix = self.matrix(53, 31)
        model = GFCF(worlds.schema(53, 31), factors, alpha)
        model.fit(self.views(matrix))
        expected = oracle(matrix, factors, alpha)
        torch.testing.assert_close(self.scores(model, self.views(matrix)).double(), expected, atol=1e-5, rtol=1e-4)

    def test_singular_vectors_are_found_once_for_all_alphas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        views = self.views(self.matrix())
        GFCF(worlds.schema(23, 17), 6, 0.1).fit(views)
        monkeypatch.setattr(gfcf, "svds", None)
        model = GFCF(worlds.schema(23, 17), 6, 0.5)
        model.fit(views)
        expected = oracle(self.matrix(), 6, 0.5)
        torch.testing.assert_close(self.scores(model, views).double(), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("options", [{"factors": 0}, {"alpha": -0.1}])
    def test_arguments_out_of_range(self, options: dict[str, float]) -> None:
        with pytest.raises(InputError, match="at least"):
            GFCF(worlds.schema(2, 2), **options)
