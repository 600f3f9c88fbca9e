from __future__ import annotations

import torch

from recsys_lightning.models import Popularity
from tests.models.contract import ClosedFormContract


class TestPopularity(ClosedFormContract):
    model = Popularity

    def test_counts_every_user_of_an_item(self) -> None:
        matrix = self.matrix()
        scores = self.scores(self.build(matrix), self.views(matrix))
        assert torch.equal(scores, matrix.float().sum(0).expand_as(scores))

    def test_rows_of_scores_do_not_share_memory(self) -> None:
        scores = self.scores(self.build(self.matrix()), self.views(self.matrix()))
        before = scores[1].clone()
        scores[0] = -torch.inf
        assert torch.equal(scores[1], before)
