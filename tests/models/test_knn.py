from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_lightning.errors import InputError
from recsys_lightning.models import ItemKNN, knn
from tests import worlds
from tests.models.contract import ClosedFormContract


def oracle(matrix: Tensor, neighbours: int, shrinkage: float, asymmetry: float) -> Tensor:
    """Item by item from the definition."""
    r = matrix.double().numpy()
    items = r.shape[1]
    similarity = np.zeros((items, items))
    for target in range(items):
        for other in range(items):
            if other != target and (both := r[:, target] @ r[:, other]):
                norm = r[:, other].sum() ** asymmetry * r[:, target].sum() ** (1 - asymmetry)
                similarity[other, target] = both / (norm + shrinkage)
        for other in np.argsort(-similarity[:, target])[neighbours:]:
            similarity[other, target] = 0.0
    return torch.from_numpy(r @ similarity)


class TestItemKNN(ClosedFormContract):
    model = ItemKNN

    @pytest.mark.parametrize(
        ("neighbours", "shrinkage", "asymmetry"),
        [(100, 0.0, 0.5), (100, 7.5, 0.5), (3, 0.0, 0.5), (1, 2.0, 0.5), (3, 2.0, 0.8), (100, 0.0, 0.0), (2, 0.3, 1.0)],
    )
    def test_equals_the_definition(self, neighbours: int, shrinkage: float, asymmetry: float) -> None:
        # many users and dense rows: no two similarities of an item tie at the cut
        matrix = torch.rand(997, 19, generator=torch.Generator().manual_seed(2)) < torch.linspace(0.1, 0.6, 19)
        model = ItemKNN(worlds.schema(*matrix.shape), neighbours, shrinkage, asymmetry)
        model.fit(self.views(matrix))
        expected = oracle(matrix, neighbours, shrinkage, asymmetry)
        torch.testing.assert_close(self.scores(model, self.views(matrix)).double(), expected, atol=1e-5, rtol=1e-5)

    def test_neighbours_are_kept_for_each_target(self) -> None:
        model = self.build(self.matrix())
        model.neighbours = 2
        model.fit(self.views(self.matrix()))
        assert (torch.bincount(model.target, minlength=17) == 2).all()

    def test_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        matrix = self.matrix()
        whole = self.scores(self.build(matrix), self.views(matrix))
        monkeypatch.setattr(knn, "BLOCK", 5)
        assert torch.equal(self.scores(self.build(matrix), self.views(matrix)), whole)

    def test_half_of_asymmetry_is_the_cosine(self) -> None:
        matrix = self.matrix()
        scores = self.scores(self.build(matrix), self.views(matrix))
        columns = torch.nn.functional.normalize(matrix.float(), dim=0)
        cosine = (columns.T @ columns).fill_diagonal_(0.0)
        torch.testing.assert_close(scores, matrix.float() @ cosine)

    @pytest.mark.parametrize("options", [{"neighbours": 0}, {"shrinkage": -1.0}, {"asymmetry": 1.5}])
    def test_arguments_out_of_range(self, options: dict[str, float]) -> None:
        with pytest.raises(InputError, match="at least"):
            ItemKNN(worlds.schema(2, 2), **options)


def test_users_are_ranked_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    schema, views = worlds.blocks()
    model, users = knn.ItemKNN(schema, neighbours=7), torch.arange(schema.num_users)
    model.fit(views)
    whole = model.rank(views.train, users)
    monkeypatch.setattr(knn, "ENTRIES", 300)
    assert torch.equal(model.rank(views.train, users), whole)
