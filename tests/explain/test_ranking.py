from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.explain import ranking
from recsys_lightning.explain.ranking import best, places
from recsys_lightning.metrics.ranking import tie_priority, top_k
from recsys_lightning.models import EASE, LightGCN
from tests.explain.models import advisor


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, -2.0]), min_size=1, max_size=12), st.data())
def test_places_are_those_of_the_evaluations_lists(values: list[float], data: st.DataObject) -> None:
    scores, count = torch.tensor(values), len(values)
    hidden = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), unique=True)), dtype=torch.long)
    masked = scores.clone()
    masked[hidden] = -torch.inf
    listed = top_k(masked[None], count, tie_priority(count)).item[0].tolist()
    expected = [listed.index(item) + 1 if item in listed else 0 for item in range(count)]
    assert places(scores, hidden, torch.arange(count)).tolist() == expected


@pytest.mark.parametrize("block", [1, 70, 1 << 22])
def test_lists_do_not_depend_on_the_size_of_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SCORES", block)
    for kind in (EASE, LightGCN):
        one = advisor(kind)
        with torch.no_grad():
            scores = one.model.score_all(one.model.users(one.state, torch.arange(40)), one.state)
            everything = best(one.model, one.state, torch.arange(40), 4, None)
            assert torch.equal(everything.item, top_k(scores, 4, tie_priority(30)).item)
            scores[one.views.train.row, one.views.train.col] = -torch.inf
            unseen = best(one.model, one.state, torch.tensor([7, 3, 7]), 4, one.views.train)
            assert torch.equal(unseen.item, top_k(scores[[7, 3, 7]], 4, tie_priority(30)).item)
