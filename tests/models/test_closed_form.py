from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import CSR, Views
from recsys_lightning.models.closed_form import ClosedForm
from tests.worlds import blocks


class Counts(ClosedForm):
    """Scores every item by its popularity."""

    count: Tensor

    def solve(self, views: Views) -> None:
        self.keep(count=views.popularity.float())

    def rank(self, rows: CSR, user: Tensor) -> Tensor:
        return self.count.expand(len(user), -1).clone()


def test_scores_are_asked_for_after_fit_only() -> None:
    schema, views = blocks()
    model = Counts(schema)
    with pytest.raises(RuntimeError, match=r"before fit\(views\)"):
        model.encode(views)
    model.fit(views)
    u = model.users(model.encode(views), torch.tensor([3, 1]))
    assert torch.equal(model.score_all(u, views.train), views.popularity.float().expand(2, -1))
    assert torch.equal(model.score(u, model.items(views.train, torch.tensor([0, 5]))), views.popularity[[0, 5]].float())


def test_what_was_solved_is_in_no_checkpoint() -> None:
    schema, views = blocks()
    model = Counts(schema)
    model.fit(views)
    assert model.state_dict() == {} and model.closed_form
