from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.batches import CSR
from recsys_lightning.data.negatives import InBatch, Popularity, Uniform
from recsys_lightning.errors import InputError
from tests.worlds import csr


def world(seed=0, users=12, items=9, density=0.4):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(users, items, generator=generator) < density


def draw(sampler, matrix, user, seed=0):
    train = csr(matrix)
    sampler.prepare(train, matrix.shape[1])
    return sampler.draw(user, torch.zeros_like(user), torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from([Uniform, Popularity]))
def test_never_an_item_the_user_has(seed, density, kind):
    matrix = world(seed, density=density)
    matrix[:, 0] &= matrix[:, 1:].all(1).logical_not()  # nobody has every item
    user = torch.arange(12).repeat(20)
    negative = draw(kind(count=3), matrix, user, seed)
    assert negative.shape == (240, 3)
    assert (negative >= 0).all() and (negative < 9).all()
    assert not matrix[user[:, None], negative].any()


def chi_square(drawn, expected):
    observed = torch.bincount(drawn, minlength=len(expected)).double()
    assert observed[expected == 0].sum() == 0
    wanted = expected > 0
    return (((observed - expected) ** 2)[wanted] / expected[wanted]).sum()


def test_uniform_over_free_items():
    matrix = world(items=12)
    for user in range(12):
        free = ~matrix[user]
        drawn = draw(Uniform(count=20), matrix, torch.full((500,), user), seed=user)
        assert chi_square(drawn.flatten(), free.double() * 10_000 / free.sum()) < 45  # 11 degrees: p ~ 5e-6


def test_popularity_follows_the_train_rows():
    matrix = world(users=200, items=12, density=0.3) & (torch.rand(12) < 0.9)
    matrix[0] = False  # may draw every item, so nothing is drawn again
    popularity = matrix.sum(0).clamp_min(1).double() ** 0.75
    sampler = Popularity(count=40, alpha=0.75)
    drawn = draw(sampler, matrix, torch.zeros(500, dtype=torch.long))
    assert chi_square(drawn.flatten(), popularity / popularity.sum() * 20_000) < 45
    assert torch.allclose(sampler.log_q.exp().double(), popularity / popularity.sum())


def test_popularity_falls_back_to_a_free_item():
    matrix = torch.zeros(500, 50, dtype=torch.bool)
    matrix[:, :49] = True  # the last item alone is free, and nobody ever took it
    drawn = draw(Popularity(alpha=3.0), matrix, torch.arange(500))
    assert (drawn == 49).all()


def test_in_batch_returns_the_items_of_the_batch():
    matrix = world()
    sampler = InBatch()
    sampler.prepare(csr(matrix), 9)
    item = torch.tensor([3, 1, 3])
    assert sampler.draw(torch.tensor([0, 1, 2]), item, torch.Generator()) is item
    assert torch.allclose(sampler.log_q.exp(), matrix.sum(0).clamp_min(1) / matrix.sum())


@pytest.mark.parametrize("sampler", [Uniform(), Popularity(), InBatch()])
def test_log_q_is_finite(sampler):
    sampler.prepare(csr(torch.eye(3, 7)), 7)
    assert sampler.log_q.shape == (7,) and sampler.log_q.isfinite().all()


@pytest.mark.parametrize("kind", [Uniform, Popularity])
def test_draws_are_a_function_of_the_generator(kind):
    user = torch.arange(12).repeat(5)
    one, same, other = (draw(kind(), world(), user, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_users_who_have_everything_are_marked():
    matrix = torch.ones(2, 3, dtype=torch.bool)
    matrix[1, 1] = False
    sampler = Uniform()
    sampler.prepare(csr(matrix), 3)
    assert sampler.saturated.tolist() == [True, False]


@pytest.mark.parametrize("kind", [Uniform, Popularity])
def test_an_empty_train_table_leaves_every_item_free(kind):
    drawn = draw(kind(count=50), torch.zeros(2, 4), torch.tensor([0, 1]))
    assert set(drawn.flatten().tolist()) == {0, 1, 2, 3}


def test_a_count_below_one_is_refused():
    with pytest.raises(InputError, match="count: 0"):
        Uniform(count=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [Uniform, Popularity])
def test_on_a_device_never_an_item_the_user_has(kind):
    matrix = torch.rand(50, 30) < 0.6
    train = CSR(*(tensor.cuda() for tensor in csr(matrix)))
    sampler = kind(count=8)
    sampler.prepare(train, 30)
    user = torch.arange(50, device="cuda").repeat(20)
    negative = sampler.draw(user, user, torch.Generator("cuda").manual_seed(0))
    assert negative.is_cuda and not matrix[user.cpu()[:, None], negative.cpu()].any()


@pytest.mark.parametrize("kind", [Uniform, Popularity, InBatch])
def test_what_is_known_is_no_negative_and_only_positives_count(kind):
    positive = world(density=0.2)
    known = positive | world(seed=1, density=0.3)
    known[:, 0], positive[:, 0] = False, False  # nobody has every item
    sampler, plain = kind(), kind()
    sampler.prepare(csr(positive), 9, csr(known))
    plain.prepare(csr(positive), 9)
    assert torch.equal(sampler.log_q, plain.log_q)
    user = torch.arange(12).repeat(50)
    if kind is not InBatch:
        drawn = sampler.draw(user, user, torch.Generator().manual_seed(0))
        assert not known[user[:, None], drawn].any()
    sampler.prepare(csr(positive), 9, csr(torch.ones(12, 9)))
    assert sampler.saturated.all()
