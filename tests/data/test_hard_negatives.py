from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.data.hard_negatives import HardNegatives
from recsys_lightning.data.negatives import Uniform
from recsys_lightning.errors import InputError
from tests.worlds import csr

USERS, ITEMS = 12, 9


def world(seed: int = 0, density: float = 0.4) -> Tensor:
    matrix = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(seed)) < density
    matrix[:, 0] &= ~matrix[:, 1:].all(1)  # nobody has every item
    return matrix


def candidates(matrix: Tensor, pool: int) -> Tensor:
    """The first items that each user has not."""
    table = torch.full((USERS, pool), -1, dtype=torch.int32)
    for user in range(USERS):
        free = (~matrix[user]).nonzero()[2 : 2 + pool, 0]
        table[user, : len(free)] = free.int()
    return table


def draw(sampler: HardNegatives | Uniform, user: Tensor, seed: int = 0) -> Tensor:
    return sampler.draw(user, torch.zeros_like(user), torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 4), st.integers(1, 6))
def test_hard_ones_are_candidates_and_no_negative_is_an_item_of_the_user(
    seed: int, density: float, hard: int, pool: int
) -> None:
    matrix, user = world(seed, density), torch.arange(USERS).repeat(30)
    sampler = HardNegatives(count=4, hard=hard, pool=pool)
    sampler.prepare(csr(matrix), ITEMS)
    table = candidates(matrix, pool)
    sampler.refresh(table, epoch=1)
    negative = draw(sampler, user, seed)
    assert negative.shape == (len(user), 4) and negative.dtype == torch.long
    assert not matrix[user[:, None], negative].any()
    some = (table[user] >= 0).any(1)
    is_candidate = (negative[:, :hard, None] == table[user][:, None]).any(2)
    assert is_candidate[some].all()


def test_candidates_are_drawn_with_equal_probability() -> None:
    matrix = torch.zeros(USERS, ITEMS)
    sampler = HardNegatives(count=3, hard=2, pool=4)
    sampler.prepare(csr(matrix), ITEMS)
    table = torch.tensor([[7, 3, 5, -1]] * USERS, dtype=torch.int32)
    sampler.refresh(table, epoch=1)
    negative = draw(sampler, torch.zeros(6000, dtype=torch.long))
    counts = torch.bincount(negative[:, :2].flatten(), minlength=ITEMS)
    assert counts[[3, 5, 7]].sum() == 12000
    assert (counts[[3, 5, 7]] - 4000).abs().max() < 260  # five standard deviations
    assert (torch.bincount(negative[:, 2], minlength=ITEMS) - 6000 / 9).abs().max() < 125


@pytest.mark.parametrize("table", [None, torch.full((USERS, 3), -1, dtype=torch.int32)])
def test_without_candidates_all_are_uniform(table: Tensor | None) -> None:
    matrix, user = world(), torch.arange(USERS).repeat(5)
    sampler, uniform = HardNegatives(count=3, hard=2, pool=3), Uniform(3)
    for each in (sampler, uniform):
        each.prepare(csr(matrix), ITEMS)
    if table is not None:
        sampler.refresh(table, epoch=1)
    assert torch.equal(draw(sampler, user), draw(uniform, user))
    assert torch.equal(sampler.log_q, uniform.log_q)


def test_it_goes_through_a_checkpoint() -> None:
    matrix, user = world(), torch.arange(USERS).repeat(5)
    one, other = (HardNegatives(count=3, hard=2, pool=3) for _ in range(2))
    one.prepare(csr(matrix), ITEMS)
    one.refresh(candidates(matrix, 3), epoch=4)
    other.load_state_dict(one.state_dict())
    other.prepare(csr(matrix), ITEMS)
    assert torch.equal(draw(one, user), draw(other, user))
    assert not other.is_due(4) and other.is_due(5)


def test_tables_are_due_at_the_start_of_every_so_many_epochs() -> None:
    sampler = HardNegatives(every=2)
    due = []
    for epoch in range(7):
        if sampler.is_due(epoch):
            due.append(epoch)
            sampler.refresh(torch.zeros(USERS, 3, dtype=torch.int32), epoch)
            assert not sampler.is_due(epoch)
    assert due == [2, 4, 6]
    assert not sampler.is_due(0) and sampler.table is None  # another training begins


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count: 0 draws no negatives"),
        ({"hard": 0}, r"hard: 0 negatives of 5 cannot be hard\. Say hard: 1 to 5"),
        ({"count": 2, "hard": 3}, "hard: 3 negatives of 2"),
        ({"pool": 0}, "pool: 0, skip: 10, every: 1; at least 1, 0 and 1"),
        ({"skip": -1}, "skip: -1"),
        ({"every": 0}, "every: 0"),
    ],
)
def test_options_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HardNegatives(**options)
