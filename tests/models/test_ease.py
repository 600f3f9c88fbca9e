from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from recsys_lightning import host
from recsys_lightning.batches import CSR, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import EASE, ease
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models.contract import ClosedFormContract

SIZES = {"ml-1m": (6040, 3706, 900_000), "many users": (30_000, 500, 600_000), "many items": (100, 3000, 20_000)}
"""Users, items, and about as many rows."""
GROWTH = """
import torch
from recsys_lightning import host
from recsys_lightning.models import EASE
from tests.models.test_ease import SIZES, world
torch.set_num_threads(1)
schema, views = world(*SIZES["ml-1m"])
model, before = EASE(schema), host.resident()
host.forget_peak()
model.fit(views)
print(model.estimate_memory(views, 1)["total"], host.peak() - before)
"""


def world(users: int, items: int, rows: int) -> tuple[Schema, Views]:
    """Rows at random."""
    key = torch.randint(users * items, (rows,), generator=torch.Generator().manual_seed(0)).unique()
    crow = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(key // items, minlength=users).cumsum(0)])
    return worlds.schema(users, items), Views(CSR(crow, key % items), items)


def oracle(matrix: Tensor, regularization: float) -> Tensor:
    """Steck's equation with numpy's general inverse."""
    r = matrix.double().numpy()
    inverse = np.linalg.inv(r.T @ r + regularization * np.eye(r.shape[1]))
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0.0)
    return torch.from_numpy(r @ weight)


class TestEASE(ClosedFormContract):
    model = EASE

    @pytest.mark.parametrize("block", [1024, 5])
    @pytest.mark.parametrize("regularization", [1.0, 250.0])
    def test_equals_the_definition(self, regularization: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ease, "BLOCK", block)
        matrix = self.matrix(53, 37)
        model = EASE(worlds.schema(53, 37), regularization)
        model.fit(self.views(matrix))
        expected = oracle(matrix, regularization)
        torch.testing.assert_close(self.scores(model, self.views(matrix)).double(), expected, atol=1e-5, rtol=1e-4)

    def test_no_item_recommends_itself(self) -> None:
        assert not self.build(self.matrix()).weight.diagonal().any()

    @pytest.mark.parametrize("block", [1, 7, 40, 64])
    def test_inverse_is_made_in_place(self, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ease, "BLOCK", block)
        root = torch.randn(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        matrix = root @ root.T + torch.eye(40)
        expected = -torch.linalg.inv(matrix)
        place = matrix.data_ptr()
        assert ease.negative_inverse(matrix).data_ptr() == place
        torch.testing.assert_close(matrix, expected, atol=1e-12, rtol=1e-9)
        assert torch.equal(matrix, matrix.T)

    def test_matrix_that_is_not_positive_definite(self) -> None:
        with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
            ease.negative_inverse(torch.diag(torch.tensor([1.0, -1.0, 1.0])))

    def test_catalogue_beyond_memory_is_refused_before_it_is_allocated(self) -> None:
        views = self.views(torch.ones(1, 1, dtype=torch.bool))
        views.num_items = 3_000_000
        model = EASE(worlds.schema(1, 3_000_000))
        with pytest.raises(InputError, match=r"EASE on 3,000,000 items needs 36\d{3}\.\d GB .* are available\. Use a"):
            model.fit(views)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("size", SIZES)
    def test_the_estimate_is_what_tensors_take_and_not_much_more(self, size: str) -> None:
        schema, views = world(*SIZES[size])
        model = EASE(schema)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            model.fit(views)
        events = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
        changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
        peak = torch.tensor([number for _, number in changes]).cumsum(0).max().item()
        estimate = model.estimate_memory(views, 1)
        assert estimate["total"] == sum(size for part, size in estimate.items() if part != "total")
        assert estimate["matrix"] == 4 * views.num_items**2
        assert peak <= estimate["total"] <= 1.4 * peak

    @pytest.mark.slow
    @pytest.mark.skipif(not host.PROCESS.is_dir(), reason="this system does not tell what a process holds")
    def test_a_process_grows_by_what_is_estimated(self) -> None:
        """By itself: another one may have freed memory that is used again."""
        found = subprocess.run([sys.executable, "-W", "ignore", "-c", GROWTH], capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        estimate, growth = map(int, found.stdout.split())
        assert 0.7 * growth < estimate < 1.3 * growth

    @pytest.mark.parametrize("regularization", [0.0, -1.0, float("nan")])
    def test_regularization_out_of_range(self, regularization: float) -> None:
        with pytest.raises(InputError, match="above 0"):
            EASE(worlds.schema(2, 2), regularization)
