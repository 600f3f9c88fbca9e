from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recsys_lightning.batches import Vectors, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.dot_product import DotProduct
from tests import worlds

DOMAIN = torch.tensor([1, 0, 1, 1, 0])


def scores(vectors: Vectors, domain: torch.Tensor | None) -> torch.Tensor:
    matrix = torch.ones(3, 5)
    views = Views(worlds.csr(matrix), 5, domain=domain, build_vectors=lambda: vectors)
    model = DotProduct(replace(worlds.schema(3, 5), vector_width=2))
    assert model.vectors(views) is views.vectors
    state = model.encode(views)
    return model.score_all(model.users(state, torch.arange(3)), state)


def test_vectors_for_all_domains_are_multiplied() -> None:
    user, item = torch.randn(3, 2), torch.randn(5, 2)
    assert torch.equal(scores(Vectors(user, item), DOMAIN), user @ item.T)


def test_an_item_is_scored_by_the_vector_for_its_own_domain() -> None:
    user, item = torch.randn(3, 2, 2), torch.randn(5, 2)
    torch.testing.assert_close(scores(Vectors(user, item), DOMAIN), torch.einsum("uid,id->ui", user[:, DOMAIN], item))


def test_one_domain_of_several_vectors() -> None:
    user, item = torch.randn(3, 1, 2), torch.randn(5, 2)
    torch.testing.assert_close(scores(Vectors(user, item), None), user[:, 0] @ item.T)


def test_it_is_a_closed_form_that_needs_vectors() -> None:
    assert DotProduct.closed_form and DotProduct.reads_vectors
    with pytest.raises(InputError, match="DotProduct reads vectors"):
        DotProduct(worlds.schema(3, 5))
