from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys_lightning.data.epoch_loader import SampleLoader
from recsys_lightning.errors import InputError


class Samples(SampleLoader[Tensor]):
    """Batches of the samples' numbers, the last one smaller, and of what is drawn for a step."""

    def batch(self, epoch: int, step: int, order: Tensor) -> Tensor:
        drawn = torch.randint(10**6, (1,), generator=self.generator(epoch, self.rank, step))
        return torch.cat([order[step * self.batch_size : (step + 1) * self.batch_size], drawn])


class Others(Samples):
    """Of another kind."""

    KEY = ("others",)


def loader(
    size: int = 23,
    batch_size: int = 4,
    seed: int = 3,
    rank: int = 0,
    world_size: int = 1,
    kind: type[Samples] = Samples,
) -> Samples:
    return kind(size, batch_size, seed, torch.device("cpu"), rank, world_size)


def passed(own: Samples) -> list[list[int]]:
    return [batch.tolist() for batch in own]


@given(size=st.integers(0, 40), batch_size=st.integers(1, 50), world_size=st.integers(1, 5))
def test_ranks_have_every_sample_once_and_as_many_steps(size: int, batch_size: int, world_size: int) -> None:
    ranks = [loader(size, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [passed(rank) for rank in ranks]
    assert {len(steps) for steps in batches} == {len(ranks[0])}
    found = [sample for steps in batches for batch in steps for sample in batch[:-1]]
    assert set(found) == set(range(size)) and len(found) == size + -size % world_size


def test_a_pass_is_a_function_of_seed_epoch_and_kind() -> None:
    own = loader()
    first = passed(own)
    assert passed(own) == first == passed(loader())
    own.sampler.set_epoch(1)
    assert passed(own) != first
    assert passed(loader(seed=4)) != first != passed(loader(kind=Others))


def test_ranks_draw_other_numbers_of_one_order() -> None:
    one, other = (loader(rank=rank, world_size=2) for rank in range(2))
    assert [batch[-1] for batch in passed(one)] != [batch[-1] for batch in passed(other)]


def test_the_epoch_may_be_set_after_iter() -> None:
    """Lightning calls iter() while it sets up, and set_epoch() when the epoch begins."""
    one, other = loader(), loader()
    batches = iter(one)
    one.set_epoch(5)
    other.set_epoch(5)
    assert [batch.tolist() for batch in batches] == passed(other)


@pytest.mark.parametrize("done", [0, 1, 3, 6])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_saved_pass_goes_on_where_it_was_and_the_next_is_whole(done: int, epoch: int) -> None:
    saved = loader()
    saved.set_epoch(epoch)
    whole = passed(saved)
    batches = iter(saved)
    for _ in range(done):
        next(batches)
    resumed = loader()
    if done:  # before the first batch, the state is still that of the pass before
        assert saved.state_dict() == {"epoch": epoch, "batches": done, "of": 6}
    else:
        saved.load_state_dict({"epoch": epoch, "batches": 0, "of": 6})
    resumed.load_state_dict(saved.state_dict())
    assert resumed.state_dict() == saved.state_dict()
    resumed.set_epoch(epoch)
    assert passed(resumed) == whole[done:]
    assert passed(resumed) == whole


def test_a_state_of_the_last_epoch_does_not_shorten_the_next() -> None:
    saved, resumed = loader(), loader()
    passed(saved)
    resumed.load_state_dict(saved.state_dict())
    resumed.set_epoch(1)
    assert resumed.state_dict() == {"epoch": 1, "batches": 0, "of": 6}
    assert len(passed(resumed)) == len(resumed)


@pytest.mark.parametrize("other", [{"world_size": 2}, {"batch_size": 8}])
def test_the_rest_of_an_epoch_of_other_batches_is_refused(other: dict[str, int]) -> None:
    saved, resumed = loader(), loader(**other)
    batches = iter(saved)
    next(batches)
    with pytest.raises(InputError, match=r"after 1 of 6 batches of an epoch, which now has 3: some rows would be"):
        resumed.load_state_dict(saved.state_dict())
    list(batches)
    resumed.load_state_dict(saved.state_dict())
    resumed.set_epoch(1)
    assert len(passed(resumed)) == 3
