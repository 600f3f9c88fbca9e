from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.batches import UserDomainBatch
from recsys_lightning.data.user_domains import UserDomainLoader
from tests.worlds import csr

U, I, M = 19, 31, 3  # noqa: E741
DOMAIN = torch.arange(I) * 7 % 5 % M
MEMBERS = [torch.arange(I)[code == DOMAIN] for code in range(M)]


def matrix() -> torch.Tensor:
    """User 4 has nothing, user 5 nothing in domain 1, user 6 all of domain 2, users 7 and 8 one item."""
    made = torch.rand(U, I, generator=torch.Generator().manual_seed(0)) < 0.3
    made[4], made[5, MEMBERS[1]], made[6, MEMBERS[2]] = False, False, True
    made[7:9] = False
    made[7, 3] = made[8, 0] = True
    made[5, MEMBERS[0][0]] = True
    return made


MATRIX = matrix()
KNOWN = MATRIX | (torch.rand(U, I, generator=torch.Generator().manual_seed(1)) < 0.1) & ~MATRIX.all(1)[:, None]


pytestmark = pytest.mark.filterwarnings("ignore:1 times a user has every item")  # user 6, in domain 2


def loader(**options: Any) -> UserDomainLoader:
    return UserDomainLoader(csr(MATRIX), csr(KNOWN), MEMBERS, **{"batch_size": 8, "negatives": 4, "seed": 3} | options)


def samples(batches: Any) -> list[tuple[int, int]]:
    return [(int(u), int(d)) for batch in batches for u, d in zip(batch.user, batch.domain, strict=True)]


def equal(one: Any, other: Any) -> bool:
    one, other = list(one), list(other)
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_every_user_with_a_row_comes_once_a_domain() -> None:
    batches = list(loader())
    assert len(batches) == len(loader())
    wanted = {(user, code) for user in range(U) if user != 4 for code in range(M)} - {(6, 2)}
    assert sorted(samples(batches)) == sorted(wanted)
    assert samples(batches) != sorted(wanted)


@given(batch_size=st.integers(1, 60), world_size=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_no_step_is_of_a_few_samples(batch_size: int, world_size: int) -> None:
    made = loader(batch_size=batch_size, world_size=world_size)
    sizes = [len(batch.user) for batch in made]
    share = -(-(M * (U - 1) - 1) // world_size)
    assert len(sizes) == len(made) == -(-share // batch_size) and sum(sizes) == share
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


def test_items_and_negatives_are_of_the_domain_and_known_says_whose_they_are() -> None:
    made = loader(negatives=9)
    for epoch in range(5):
        made.set_epoch(epoch)
        for batch in made:
            assert batch.negative.shape == (len(batch.user), 9)
            assert torch.equal(DOMAIN[batch.item], batch.domain)
            assert torch.equal(DOMAIN[batch.negative], batch.domain[:, None].expand(-1, 9))
            assert not KNOWN[batch.user[:, None], batch.negative].any()
            any_there = torch.stack([MATRIX[:, items].any(1) for items in MEMBERS], 1)
            assert torch.equal(batch.known, any_there[batch.user, batch.domain])
            assert torch.equal(MATRIX[batch.user, batch.item] | ~batch.known, torch.ones_like(batch.known))


def test_over_epochs_all_of_a_users_items_are_drawn_alike_and_any_item_where_there_is_none() -> None:
    made = loader(negatives=1)
    items = torch.zeros(U, I)
    epochs = 800
    for epoch in range(epochs):
        made.set_epoch(epoch)
        for batch in made:
            items.index_put_((batch.user, batch.item), torch.ones(len(batch.user)), accumulate=True)
    for user, code in ((0, 0), (1, 2), (5, 1), (8, 0)):
        members = MEMBERS[code]
        own = members[MATRIX[user, members]]
        among = own if len(own) else members
        expected = torch.zeros(len(members))
        expected[torch.isin(members, among)] = epochs / len(among)
        spread = (epochs / len(among)) ** 0.5
        assert (items[user, members] - expected).abs().max() < 5 * spread, (user, code)
        assert items[user, members[expected == 0]].sum() == 0


def test_who_has_every_item_of_a_domain_is_left_out_there_and_it_is_said() -> None:
    with pytest.warns(UserWarning, match="1 times a user has every item of a domain"):
        loader()


def test_a_pass_is_a_function_of_seed_and_epoch() -> None:
    one, other = loader(), loader()
    assert equal(one, other)
    assert equal(one, one)
    other.set_epoch(1)
    assert not equal(one, other) and sorted(samples(one)) == sorted(samples(other))
    assert not equal(one, loader(seed=4))


@given(done=st.integers(0, 7), batch_size=st.integers(1, 60), epoch=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_resumed_pass_goes_on_with_what_is_left(done: int, batch_size: int, epoch: int) -> None:
    made = loader(batch_size=batch_size)
    made.set_epoch(epoch)
    whole = list(made)
    running = iter(made)
    for _ in range(min(done, len(whole))):
        next(running)
    resumed = loader(batch_size=batch_size)
    resumed.load_state_dict(made.state_dict())
    resumed.set_epoch(epoch)
    assert equal(resumed, whole[made.state_dict()["batches"] :])
    resumed.set_epoch(epoch + 1)
    made.set_epoch(epoch + 1)
    assert equal(resumed, made)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_one_order(world_size: int) -> None:
    parts = [list(loader(rank=rank, world_size=world_size, batch_size=4)) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    assert set(samples(batch for part in parts for batch in part)) == set(samples(loader()))
    everything = [pair for part in parts for pair in samples(part)]
    assert len(everything) - len(set(everything)) < world_size


def test_one_domain_and_nobody() -> None:
    alone = UserDomainLoader(csr(MATRIX), csr(KNOWN), [torch.arange(I)], 100, 2, 0)
    (batch,) = alone
    assert isinstance(batch, UserDomainBatch) and batch.known.all() and not batch.domain.any()
    assert MATRIX[batch.user, batch.item].all()
    nothing = csr(torch.zeros(3, I))
    assert list(UserDomainLoader(nothing, nothing, MEMBERS, 8, 2, 0)) == []
