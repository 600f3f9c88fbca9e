"""Tables whose rows are split over two processes train as those that each process has whole."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch.distributed.tensor import DTensor

from recsys_lightning.data.recipe import Recipe
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models import EASE, MF, LightGCN
from recsys_lightning.models.base import Recommender
from recsys_lightning.tasks.ranking import Ranking
from recsys_lightning.tasks.sharding import ShardedTables
from tests.tasks.test_base import data, trainer
from tests.worlds import MemorySource

ADAM = partial(torch.optim.Adam, lr=0.02)
ODD = 59
"""Users: shares of an odd number differ in size."""


class Forked(ShardedTables):
    """As it is, but in processes that are forked: the others start this file as a program."""

    def _configure_launcher(self) -> None:
        self._launcher = _MultiProcessingLauncher(self, start_method="fork")


class Shares(Callback):
    """Notes how many rows of each table this process keeps, and of the tables' moments."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        kept = []
        for parameter in pl_module.parameters():
            for table in (parameter, trainer.optimizers[0].state[parameter]["exp_avg"]):
                assert isinstance(table, DTensor)
                kept.append(len(table.to_local()))
        of_all = trainer.strategy.all_gather(torch.tensor(kept))
        if trainer.is_global_zero:
            torch.save(of_all, Path(trainer.default_root_dir) / "shares.pt")


def odd() -> InteractionsDataModule:
    return InteractionsDataModule(MemorySource(num_users=ODD), Recipe(split="random"), batch_size=32)


def job() -> Ranking:
    torch.manual_seed(0)
    return Ranking(partial(MF, dim=4), optimizer=ADAM, weight_decay=0.01)


def fitted(folder: Path, strategy: Strategy, epochs: int, **options: Any) -> Path:
    """The checkpoint of a training on two processes."""
    torch.set_num_threads(1)
    shares = [Shares()] if isinstance(strategy, ShardedTables) else []
    made = trainer(
        folder,
        max_epochs=epochs,
        devices=2,
        strategy=strategy,
        gradient_clip_val=0.05,
        callbacks=[ModelCheckpoint(folder, "trained"), *shares],
    )
    made.fit(job(), odd(), **options)
    return folder / "trained.ckpt"


def measured(checkpoint: Path, folder: Path, **options: Any) -> dict[str, float]:
    torch.set_num_threads(1)
    made = trainer(folder, **options)
    made.test(job(), odd(), ckpt_path=checkpoint, verbose=False)
    return {name: float(value) for name, value in made.callback_metrics.items()}


def read(checkpoint: Path) -> Any:
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture
def sharded(elsewhere: Executor, tmp_path: Path) -> Path:
    """The checkpoint of three epochs."""
    return elsewhere.submit(fitted, tmp_path / "sharded", Forked(), 3).result(timeout=300)


def test_they_end_as_whole_ones_and_each_process_keeps_half(elsewhere: Executor, tmp_path: Path, sharded: Path) -> None:
    whole = elsewhere.submit(fitted, tmp_path / "whole", DDPStrategy(start_method="fork"), 3).result(timeout=300)
    found, expected = read(sharded), read(whole)
    assert [tuple(table.shape) for table in found["state_dict"].values()] == [(ODD, 4), (40, 4)]
    torch.testing.assert_close(dict(found["state_dict"]), dict(expected["state_dict"]), rtol=1e-4, atol=1e-5)
    moments, others = (content["optimizer_states"][0]["state"] for content in (found, expected))
    torch.testing.assert_close(moments, others, rtol=1e-4, atol=1e-6)
    first, second = torch.load(tmp_path / "sharded" / "shares.pt", weights_only=True).tolist()
    assert first == [30, 30, 20, 20] and second == [29, 29, 20, 20]


def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    elsewhere: Executor, tmp_path: Path, sharded: Path
) -> None:
    part = elsewhere.submit(fitted, tmp_path / "part", Forked(), 1).result(timeout=300)
    again = elsewhere.submit(fitted, tmp_path / "rest", Forked(), 3, ckpt_path=part).result(timeout=300)
    found, expected = read(again), read(sharded)
    for name, table in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], table)
    torch.testing.assert_close(found["optimizer_states"], expected["optimizer_states"], rtol=0, atol=0)


def test_one_process_tests_them_as_two_do(elsewhere: Executor, tmp_path: Path, sharded: Path) -> None:
    two = elsewhere.submit(measured, sharded, tmp_path, devices=2, strategy=Forked()).result(timeout=300)
    assert two == pytest.approx(measured(sharded, tmp_path), abs=1e-6, nan_ok=True)
    assert two["test/users"] == ODD and two["test/ndcg_10"] > 0


def test_another_network_is_refused(elsewhere: Executor, tmp_path: Path) -> None:
    made = trainer(tmp_path, max_epochs=1, callbacks=[ModelCheckpoint(tmp_path, "wide")], limit_val_batches=0)
    made.fit(Ranking(partial(MF, dim=8)), odd())
    asked = elsewhere.submit(fitted, tmp_path, Forked(), 2, ckpt_path=tmp_path / "wide.ckpt")
    with pytest.raises(Exception, match="another network than the configuration asks for"):
        asked.result(timeout=300)


def narrow(folder: Path) -> str:
    source = MemorySource(num_users=30, num_items=5, num_blocks=1)
    made = trainer(folder, max_epochs=1, devices=4, strategy=Forked())
    try:
        made.fit(job(), InteractionsDataModule(source, Recipe(split="random"), batch_size=8))
    except Exception as error:
        return str(error)
    return ""


def test_a_process_needs_rows(elsewhere: Executor, tmp_path: Path) -> None:
    said = elsewhere.submit(narrow, tmp_path).result(timeout=300)
    assert "recommender.item has" in said and "rows, which leaves one of 4 processes without any" in said


def refused(model: Callable[..., Recommender], folder: Path) -> str:
    made = trainer(folder, max_epochs=1, devices=2, strategy=Forked())
    try:
        (made.test if model is EASE else made.fit)(Ranking(model), data())
    except Exception as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("model", "names"), [(LightGCN, "recommender.user, recommender.item are"), (EASE, "closed forms are")]
)
def test_what_reads_all_rows_is_refused(
    elsewhere: Executor, tmp_path: Path, model: Callable[..., Recommender], names: str
) -> None:
    said = elsewhere.submit(refused, model, tmp_path).result(timeout=300)
    assert f"{InputError.__name__}: The strategy sharded_tables splits" in said and names in said
