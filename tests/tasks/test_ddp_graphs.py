"""Models of the typed graph on two processes, which must find a gradient for every parameter in every step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn.utils import parameters_to_vector

from recsys_lightning.callbacks.checkpoint import read_checkpoint
from recsys_lightning.data.vocabulary import Attribute
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models import GAT, GenreGAT, Recommender
from recsys_lightning.schema import Schema
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer

TWO = {"devices": 2, "strategy": "ddp_fork"}


def with_isolated_values() -> InteractionsDataModule:
    """Next to the genres, directors whom no item has."""
    module = data()
    nobody = Attribute(("who", "knows"), np.zeros(0, np.int64), np.zeros(0, np.int64))
    graph = module.typed_graph
    module.__dict__["typed_graph"] = replace(graph, attributes={**graph.attributes, "director": nobody})
    return module


small = partial(GenreGAT, dim=4, heads=2)
CASES: dict[str, tuple[Callable[[Schema], Recommender], Callable[[], InteractionsDataModule]]] = {
    "genres": (small, data),
    "no attributes": (small, partial(data, attributes=[])),
    "isolated values": (partial(small, gate="learned"), with_isolated_values),
    "sampled neighbours": (partial(small, fan_out=[3, 2]), with_isolated_values),
    "gatv2": (partial(small, attention="gatv2"), with_isolated_values),
    "no attention": (partial(small, attention="none"), partial(data, features=["length"])),
    "GAT": (partial(GAT, dim=4, heads=2), with_isolated_values),
}


class SameEverywhere(Callback):
    """Asks whether both processes end with the same parameters, and have moved all that can be moved."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = {name: value.detach().clone() for name, value in pl_module.named_parameters()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ends = trainer.strategy.all_gather(parameters_to_vector(pl_module.parameters()).detach())
        assert len(ends) == 2 and torch.equal(*ends)
        still = {name for name, value in pl_module.named_parameters() if torch.equal(value, self.start[name])}
        # nobody has directors, and an item has one genre: there is nothing between which to choose
        assert all("director" in name or "rev_has_genre" in name for name in still), still


def figures(case: str, folder: Path) -> list[dict[str, float]]:
    """Train on two processes; what is then measured on one and on two of them."""
    torch.set_num_threads(1)
    model, make = CASES[case]
    module = make()
    saved = ModelCheckpoint(folder, "trained")
    task = Ranking(model, optimizer=partial(torch.optim.Adam, lr=0.05))
    trainer(folder, max_epochs=2, callbacks=[saved, SameEverywhere()], **TWO).fit(task, module)
    found: list[dict[str, float]] = []
    for options in ({}, TWO):
        made = trainer(folder, **options)
        made.test(Ranking(model), module, ckpt_path=folder / "trained.ckpt", verbose=False)
        found.append({name: float(value) for name, value in made.callback_metrics.items()})
    return found


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_and_measure_what_one_measures(elsewhere: Executor, tmp_path: Path, case: str) -> None:
    one, two = elsewhere.submit(figures, case, tmp_path).result(timeout=180)
    assert one["test/users"] == 60
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
    trained = read_checkpoint(tmp_path / "trained.ckpt")
    assert trained["global_step"] > 4
    assert all(value.isfinite().all() for value in trained["state_dict"].values())
