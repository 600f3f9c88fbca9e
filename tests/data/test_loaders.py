from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.batches import CSR
from recsys_lightning.data.loaders import PairLoader, RankingLoader
from recsys_lightning.data.negatives import InBatch, Popularity, Uniform
from tests.worlds import csr

MATRIX = torch.rand(17, 13, generator=torch.Generator().manual_seed(0)) < 0.4
TRAIN = csr(MATRIX)


def loader(sampler=None, train: CSR = TRAIN, items=13, **options):
    sampler = sampler or Uniform(count=2)
    sampler.prepare(train, items)
    return PairLoader(train.row, train.col, sampler, **{"batch_size": 8, "seed": 3, **options})


def equal(one, other):
    one, other = list(one), list(other)
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def pairs(batches):
    return [(int(u), int(i)) for batch in batches for u, i in zip(batch.user, batch.item, strict=True)]


def test_an_epoch_holds_every_pair_once():
    batches = list(loader())
    assert len(batches) == len(loader())
    assert sorted(pairs(batches)) == [tuple(pair) for pair in MATRIX.nonzero().tolist()]
    assert {len(batch.user) for batch in batches[:-1]} == {8}


@pytest.mark.parametrize("sampler", [Uniform(count=2), Popularity(count=3), InBatch()])
def test_batches_carry_log_q_of_their_items(sampler):
    for batch in loader(sampler):
        assert batch.negative.shape == batch.negative_log_q.shape
        assert torch.equal(batch.item_log_q, sampler.log_q[batch.item])
        assert torch.equal(batch.negative_log_q, sampler.log_q[batch.negative])


def test_epochs_differ_and_repeat():
    one, other = loader(), loader()
    first = list(one)
    one.sampler.set_epoch(1)
    second = list(one)
    assert pairs(first) != pairs(second)
    assert not equal(first, second)
    one.sampler.set_epoch(0)
    assert equal(one, first) and equal(other, first)
    assert not equal(loader(seed=4), first)


def test_the_order_of_runs_that_are_published_stays() -> None:
    own = loader(rank=1, world_size=2)
    own.set_epoch(2)
    first = next(iter(own))
    assert first.user.tolist() == [3, 9, 13, 8, 1, 6, 14, 2]
    assert first.negative[:3].tolist() == [[10, 10], [3, 6], [1, 7]]


def test_the_epoch_may_be_set_after_iter():
    """Lightning calls iter() while it sets up, and set_epoch() when the epoch begins."""
    one, other = loader(), loader()
    batches = iter(one)
    one.sampler.set_epoch(5)
    other.sampler.set_epoch(5)
    assert equal(batches, other)


@given(st.integers(0, 8), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_a_saved_loader_goes_on_where_it_was(done, epoch):
    whole = loader()
    whole.sampler.set_epoch(epoch)
    expected = list(whole)
    saved = loader()
    saved.sampler.set_epoch(epoch)
    batches = iter(saved)
    for _ in range(done):
        next(batches)
    resumed = loader()
    resumed.load_state_dict(saved.state_dict())
    rest = iter(resumed)
    resumed.sampler.set_epoch(epoch)
    assert equal(rest, expected[done:])
    assert equal(resumed, expected)  # the next pass is whole again
    assert len(resumed) == len(expected)


def test_a_state_of_the_last_epoch_does_not_shorten_the_next():
    saved = loader()
    list(saved)
    resumed = loader()
    resumed.load_state_dict(saved.state_dict())
    resumed.sampler.set_epoch(1)
    assert len(list(resumed)) == len(resumed)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_pairs_evenly(world_size):
    ranks = [loader(rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [pairs(rank) for rank in ranks]
    assert len({len(rank) for rank in ranks}) == 1 and len({len(share) for share in shares}) == 1
    everything = [pair for share in shares for pair in share]
    padding = -int(MATRIX.sum()) % world_size
    assert len(everything) == MATRIX.sum() + padding
    assert len(set(everything)) == MATRIX.sum()  # all of them, and only the padding twice


def test_ranks_draw_other_negatives():
    train = csr(torch.eye(1, 500))
    negatives = [
        torch.cat([batch.negative for batch in loader(train=train, items=500, rank=r, world_size=2)]) for r in (0, 1)
    ]
    assert not torch.equal(*negatives)


def test_more_ranks_than_pairs():
    train = csr(torch.eye(2, 5))
    ranks = [loader(train=train, items=5, rank=rank, world_size=5) for rank in range(5)]
    assert [len(pairs(rank)) for rank in ranks] == [1] * 5


def test_users_who_have_everything_are_left_out_with_a_warning():
    matrix = MATRIX.clone()
    matrix[4] = True
    sampler = Uniform()
    sampler.prepare(csr(matrix), 13)
    with pytest.warns(UserWarning, match="1 users have every item.* 13 train rows"):
        found = PairLoader(csr(matrix).row, csr(matrix).col, sampler, 8, 0)
    assert 4 not in {user for user, _ in pairs(found)}
    assert len(pairs(found)) == int(matrix.sum()) - 13


def test_ranking_batches_hold_rows_of_both_tables():
    relevant = torch.rand(17, 13) < 0.2
    users = torch.tensor([16, 3, 5, 0, 9])
    batches = list(RankingLoader(users, TRAIN, csr(relevant), batch_size=2))
    assert [batch.user.tolist() for batch in batches] == [[16, 3], [5, 0], [9]]
    for batch in batches:
        for (row, item), matrix in ((batch.seen, MATRIX), (batch.relevant, relevant)):
            found = torch.zeros(len(batch.user), 13, dtype=torch.bool)
            found[row, item] = True
            assert torch.equal(found, matrix[batch.user])


@pytest.mark.parametrize("world_size", [1, 2, 3, 20])
def test_ranks_rank_each_user_once(world_size):
    users = torch.arange(17)
    ranks = [RankingLoader(users, TRAIN, TRAIN, 4, rank, world_size) for rank in range(world_size)]
    assert all(len(list(rank)) == len(rank) for rank in ranks)
    found = [user for rank in ranks for batch in rank for user in batch.user.tolist()]
    assert sorted(found) == list(range(17))
