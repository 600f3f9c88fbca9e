from __future__ import annotations

import pytest
import torch

from recsys_lightning.models.base import Embeddings, Recommender
from tests.worlds import blocks


def test_the_defaults_are_the_dot_product_of_the_state() -> None:
    schema, _ = blocks(5, 4)
    model, state = Recommender(schema), Embeddings(torch.rand(5, 3), torch.rand(4, 3))
    u = model.users(state, torch.tensor([4, 0]))
    expected = state.user[[4, 0]] @ state.item.T
    torch.testing.assert_close(model.score_all(u, state), expected)
    torch.testing.assert_close(model.score(u[:, None], model.items(state, torch.tensor([[1, 2]]))), expected[:, 1:3])


def test_a_model_without_embeddings_has_no_penalty_and_must_encode() -> None:
    schema, views = blocks(5, 4)
    index = torch.tensor([0, 1])
    assert Recommender(schema).penalty(None, index, index, index[:, None]) == 0
    with pytest.raises(NotImplementedError):
        Recommender(schema).encode(views)


def test_memory_is_not_known_unless_a_model_says() -> None:
    schema, views = blocks(5, 4)
    assert Recommender(schema).estimate_memory(views, 2) is None
