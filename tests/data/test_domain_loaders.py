from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer

from recsys_lightning.callbacks.checkpoint import BestAndLast, read_checkpoint
from recsys_lightning.data.domain_loaders import DomainPairLoader, DomainRankingLoader
from recsys_lightning.data.loaders import PairLoader, RankingLoader
from recsys_lightning.data.negatives import InBatch, NegativeSampler, Popularity, Uniform
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import trainer
from tests.worlds import DomainSource, csr

MATRIX = torch.rand(17, 31, generator=torch.Generator().manual_seed(0)) < 0.3
DOMAIN = torch.rand(31, generator=torch.Generator().manual_seed(1)).mul(3).long()
MEMBERS = [(code == DOMAIN).nonzero()[:, 0] for code in range(3)]


def loader(sampler: NegativeSampler | None = None, **options: Any) -> DomainPairLoader:
    options = {"batch_size": 8, "seed": 3} | options
    parts = []
    for code, items in enumerate(MEMBERS):
        own = copy.deepcopy(sampler or Uniform(count=2))
        train = csr(MATRIX).within(items)
        own.prepare(train, len(items))
        parts.append(PairLoader(train.row, train.col, own, **options | {"seed": options["seed"] * 3 + code}))
    return DomainPairLoader(parts, MEMBERS, options["seed"])


def equal(one: Any, other: Any) -> bool:
    one, other = list(one), list(other)
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def pairs(batches: Any) -> list[tuple[int, int]]:
    return [(int(u), int(i)) for batch in batches for u, i in zip(batch.user, batch.item, strict=True)]


def test_an_epoch_holds_every_pair_once() -> None:
    batches = list(loader())
    assert len(batches) == len(loader())
    assert sorted(pairs(batches)) == [tuple(pair) for pair in MATRIX.nonzero().tolist()]


@pytest.mark.parametrize("sampler", [Uniform(count=3), Popularity(count=2), InBatch()])
def test_a_batch_is_of_one_domain_and_so_are_its_negatives(sampler: NegativeSampler) -> None:
    order = []
    for batch in loader(sampler):
        (code,) = DOMAIN[batch.item].unique().tolist()
        assert (DOMAIN[batch.negative] == code).all()
        order.append(code)
    assert set(order) == {0, 1, 2} and order != sorted(order)  # domains take turns


@pytest.mark.parametrize("sampler", [Uniform(count=20), Popularity(count=20)])
def test_negatives_are_what_the_user_has_not(sampler: NegativeSampler) -> None:
    """Guarantee G10; every free item of the domain is drawn some day."""
    drawn: set[tuple[int, int]] = set()
    own = loader(sampler)
    for epoch in range(6):
        own.sampler.set_epoch(epoch)
        for batch in own:
            assert not MATRIX[batch.user[:, None], batch.negative].any()
            for user, items in zip(batch.user.tolist(), batch.negative.tolist(), strict=True):
                drawn |= {(user, item) for item in items}
    has = torch.stack([MATRIX[:, items].any(1) for items in MEMBERS], 1)[:, DOMAIN]
    assert drawn == {tuple(pair) for pair in (~MATRIX & has).nonzero().tolist()}


def test_log_q_is_that_of_the_domain() -> None:
    popular = Popularity(count=3)
    own = loader(popular)
    for batch in own:
        code = int(DOMAIN[batch.item[0]])
        log_q = own.parts[code].negatives.log_q
        place = torch.searchsorted(MEMBERS[code], batch.item)
        assert torch.equal(batch.item_log_q, log_q[place])
        assert log_q.exp().sum() == pytest.approx(1, abs=1e-5)


def test_epochs_differ_and_repeat() -> None:
    one, other = loader(), loader()
    first = list(one)
    one.sampler.set_epoch(1)
    assert not equal(one, first)
    one.sampler.set_epoch(0)
    assert equal(one, first) and equal(other, first)
    assert not equal(loader(seed=4), first)


def test_domains_do_not_draw_as_another_does_under_another_seed() -> None:
    module = InteractionsDataModule(DomainSource(), Recipe(split="random"))
    found = module.pair_loader(Uniform())
    assert isinstance(found, DomainPairLoader)
    seeds = [[part.seed for part in found.parts]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "1")
        other = module.pair_loader(Uniform())
        assert isinstance(other, DomainPairLoader)
        seeds.append([part.seed for part in other.parts])
    assert len({seed for both in seeds for seed in both}) == 4


@given(st.integers(0, 22), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_saved_loader_goes_on_where_it_was(done: int, epoch: int) -> None:
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
    assert done == 0 or resumed.state_dict() == saved.state_dict()
    rest = iter(resumed)
    resumed.sampler.set_epoch(epoch)
    assert equal(rest, expected[done:])
    assert equal(resumed, expected)  # the next pass is whole again, also of domains that were through
    again = loader()
    again.load_state_dict(resumed.state_dict())
    again.sampler.set_epoch(epoch + 1)
    assert len(list(again)) == len(expected)


def test_a_state_holds_what_this_pass_handed_out() -> None:
    own = loader()
    list(own)
    batches = iter(own)
    next(batches)
    assert own.state_dict() == {"epoch": 0, "batches": 1, "of": len(own)}
    own.set_epoch(1)
    assert own.state_dict() == {"epoch": 1, "batches": 0, "of": len(own)}


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_pairs_and_are_in_the_same_domain_at_each_step(world_size: int) -> None:
    """Else they would log other names, and some could wait for others."""
    ranks = [list(loader(rank=rank, world_size=world_size)) for rank in range(world_size)]
    orders = {tuple(int(DOMAIN[batch.item[0]]) for batch in rank) for rank in ranks}
    assert len(orders) == 1
    everything = [pair for rank in ranks for pair in pairs(rank)]
    assert set(everything) == {tuple(pair) for pair in MATRIX.nonzero().tolist()}
    assert len(everything) - int(MATRIX.sum()) == sum(-int(MATRIX[:, items].sum()) % world_size for items in MEMBERS)


def test_each_domain_ranks_its_users_once() -> None:
    users = [torch.tensor([0, 3, 4, 9]), torch.tensor([3]), torch.arange(17)]
    table = csr(MATRIX)
    for world_size in (1, 2, 3):
        found: list[tuple[int, int]] = []
        for rank in range(world_size):
            parts = [RankingLoader(own, table, table, 3, rank, world_size) for own in users]
            whole = DomainRankingLoader(parts)
            batches = list(whole)
            assert len(batches) == len(whole)
            for batch in batches:
                assert batch.domain is not None
                found += [(batch.domain, user) for user in batch.user.tolist()]
        assert sorted(found) == [(code, user) for code, own in enumerate(users) for user in own.tolist()]


# Through the real trainer


class Stop(Callback):
    """Ends the process's part of the training after some batches, as a signal does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.after:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "stopped.ckpt")
            trainer.should_stop = trainer.fit_loop.epoch_loop.restarting = True
            raise KeyboardInterrupt


def data() -> InteractionsDataModule:
    return InteractionsDataModule(DomainSource(), Recipe(split="random"), batch_size=64)


@pytest.mark.filterwarnings("ignore:The best checkpoint so far")
@pytest.mark.parametrize(("after", "accumulate"), [(3, 3), (14, 1)])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, after: int, accumulate: int) -> None:
    """Guarantee G15, bit for bit."""
    options: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": accumulate}

    def fit(folder: Path, *callbacks: Callback, **more: Any) -> dict[str, Any]:
        torch.manual_seed(0)
        task = Ranking(lambda schema: MF(schema, dim=4), negatives=Uniform(2))
        made = trainer(folder, callbacks=[BestAndLast(), *callbacks], **options)
        try:
            made.fit(task, data(), **more)
        except SystemExit:
            return {}
        return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]

    whole = fit(tmp_path / "whole")
    fit(tmp_path / "part", Stop(after))
    stopped = tmp_path / "part" / "stopped.ckpt"
    content = read_checkpoint(stopped)
    assert content["global_step"] > 0
    resumed = fit(tmp_path / "resumed", ckpt_path=stopped)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
