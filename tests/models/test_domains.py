from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.batches import Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.domains import by_domain, domain_of, require_vectors
from tests import worlds


@given(
    sizes=st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_the_dot_product_is_that_with_the_vector_of_the_items_own_domain(
    sizes: tuple[int, int, int, int], seed: int
) -> None:
    num_users, num_items, num_domains, width = sizes
    generator = torch.Generator().manual_seed(seed)
    user = torch.randn(num_users, num_domains, width, generator=generator, dtype=torch.float64)
    item = torch.randn(num_items, width, generator=generator, dtype=torch.float64)
    domain = torch.randint(num_domains, (num_items,), generator=generator)
    made = by_domain(user, item, domain)
    assert made.user.shape == (num_users, num_domains * width) and made.item.shape == (num_items, num_domains * width)
    torch.testing.assert_close(made.user @ made.item.T, torch.einsum("uid,id->ui", user[:, domain], item))


def test_gradients_reach_users_and_items_and_rows_that_do_not_count_stay_apart() -> None:
    user = torch.randn(2, 2, 3, requires_grad=True)
    item = torch.randn(4, 3, requires_grad=True)
    item_rows = torch.where(torch.tensor([[False], [True], [False], [False]]), torch.nan, item)
    made = by_domain(user, item_rows, torch.tensor([0, 1, 1, 0]))
    assert made.item[[0, 2, 3]].isfinite().all()
    (made.user @ made.item[[0, 2]].T).sum().backward()
    assert user.grad is not None and user.grad.any() and item.grad is not None
    torch.testing.assert_close(item.grad[2], user[:, 1].sum(0))


def test_one_domain_is_the_plain_dot_product() -> None:
    views = Views(worlds.csr(torch.ones(2, 3)), 3)
    user, item = torch.randn(2, 1, 4), torch.randn(3, 4)
    made = by_domain(user, item, domain_of(views))
    assert torch.equal(made.user, user[:, 0]) and torch.equal(made.item, item)


def test_data_without_vectors_are_refused() -> None:
    require_vectors(replace(worlds.schema(2, 3), vector_width=4), "Some")
    with pytest.raises(InputError, match=r"Some reads vectors.*EmbeddingDataModule.*WriteVectors"):
        require_vectors(worlds.schema(2, 3), "Some")
