from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models import ContentKNN
from recsys_lightning.schema import Schema
from tests import worlds
from tests.models import featured
from tests.models.contract import ClosedFormContract
from tests.models.featured import BARE, CATEGORIES, COLD


class Rich(ContentKNN):
    """The model on data that have features."""

    def __init__(self, schema: Schema, **options: Any) -> None:
        super().__init__(featured.schema(schema.num_users, schema.num_items), **options)


def oracle(matrix: Tensor, weight: float) -> Tensor:
    """Likeness by likeness from the definition."""
    features, known = featured.features(), matrix.any(0)
    contents = []
    for item in range(matrix.shape[1]):
        codes: list[float] = []
        for rows, size in zip(features.categories, CATEGORIES.values(), strict=True):
            has = featured.dense(rows, size)
            count = has[known].sum(0)
            codes += [float(has[item, c]) * math.log(1 + int(known.sum()) / max(1, int(count[c]))) for c in range(size)]
        numbers = features.numbers[item].double()
        parts = [torch.tensor(codes).double(), numbers]
        parts = [part / part.norm() if part.any() else part for part in parts]
        content = torch.cat([parts[0], weight * parts[1]])
        contents.append(content / content.norm() if content.any() else content)
    likeness = torch.stack(contents) @ torch.stack(contents).T
    return matrix.double() @ likeness


class TestContentKNN(ClosedFormContract):
    model = Rich

    def views(self, matrix: Tensor, item_order: Tensor | None = None) -> Views:
        return featured.views(matrix, item_order)

    def test_order_of_users_and_items_changes_nothing(self) -> None:
        matrix = self.matrix()
        generator = torch.Generator().manual_seed(5)
        user, item = (torch.randperm(size, generator=generator) for size in matrix.shape)
        views = self.views(matrix[user][:, item], item)
        twin = Rich(worlds.schema(*matrix.shape))
        twin.fit(views)
        before = self.scores(self.build(matrix), self.views(matrix))
        torch.testing.assert_close(self.scores(twin, views), before[user][:, item])

    @pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
    def test_equals_the_definition(self, weight: float) -> None:
        matrix = featured.matrix()
        model = Rich(worlds.schema(*matrix.shape), numbers=weight)
        model.fit(self.views(matrix))
        scores = self.scores(model, self.views(matrix))
        torch.testing.assert_close(scores.double(), oracle(matrix, weight), atol=1e-5, rtol=1e-5)
        assert scores[:, COLD].any() and not scores[:, BARE].any()

    def test_contributions_add_up(self) -> None:
        matrix = featured.matrix()
        model, views = self.build(matrix), self.views(matrix)
        own, value, rest = model.contributions(views, model.encode(views), 7, torch.tensor([0, COLD]))  # type: ignore
        assert torch.equal(own, matrix[7].nonzero()[:, 0]) and not rest.any()
        torch.testing.assert_close(value.sum(1), self.scores(model, views)[7, [0, COLD]])

    def test_what_it_cannot_do(self) -> None:
        with pytest.raises(InputError, match=r"a weight of numbers from 0, and was given -1\."):
            Rich(worlds.schema(2, 2), numbers=-1.0)
        with pytest.raises(InputError, match=r"prepared without\. Say in data\.features"):
            ContentKNN(worlds.schema(2, 2))

    def test_vectors_that_do_not_fit_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("recsys_lightning.models.memory.available", lambda device: 10)
        with pytest.raises(InputError, match=r"ContentKNN on 17 items with 15 numbers and codes needs.*data\.features"):
            self.build(self.matrix())
