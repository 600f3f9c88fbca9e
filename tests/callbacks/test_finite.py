from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.callbacks.finite import StopOnNonFinite
from recsys_lightning.errors import NonFiniteError
from recsys_lightning.losses.ranking import Loss, bpr
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import data, trainer
from tests.tasks.test_optimizers import Sparse


def stop(folder: Path, task: Ranking) -> tuple[str, int]:
    fit = trainer(folder, max_epochs=3, callbacks=[StopOnNonFinite()], num_sanity_val_steps=0, limit_val_batches=0)
    with pytest.raises(NonFiniteError) as caught:
        fit.fit(task, data())
    return str(caught.value), fit.global_step


class BadLoss(Loss):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def forward(self, positive: Tensor, negative: Tensor, batch: PairBatch) -> Tensor:
        self.left -= 1
        return bpr(positive, negative) * (torch.nan if self.left < 0 else 1.0)


def test_it_stops_within_the_step_and_leaves_the_parameters_finite(tmp_path: Path) -> None:
    task = Ranking(partial(MF, dim=4), BadLoss(step=3))
    message, steps = stop(tmp_path, task)
    assert steps == 3
    assert "epoch 0, batch 3 (step 3)" in message
    assert "output of loss" in message
    assert torch.isfinite(task.recommender.user).all()


class BadModule(MF):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.mixer = torch.nn.LayerNorm(4)
        self.scale = torch.nn.Hardtanh()

    def encode(self, views: Views) -> Embeddings:
        return Embeddings(self.scale(self.mixer(self.user) / 0.0 * 0.0), self.item)


def test_it_names_the_first_bad_module(tmp_path: Path) -> None:
    message, steps = stop(tmp_path, Ranking(partial(BadModule, dim=4)))
    assert steps == 0
    assert "output of recommender.scale" in message


def test_it_names_a_parameter_that_is_bad_itself(tmp_path: Path) -> None:
    class Infinite(MF):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            torch.nn.init.constant_(self.item, torch.inf)

    message, _ = stop(tmp_path, Ranking(partial(Infinite, dim=4)))
    assert "parameter recommender.item" in message


def test_a_sound_run_goes_through(tmp_path: Path) -> None:
    fit = trainer(tmp_path, max_epochs=2, callbacks=[StopOnNonFinite()])
    fit.fit(Ranking(partial(MF, dim=4)), data())
    assert fit.global_step > 0


@pytest.mark.parametrize("step", [0, 3])
def test_sparse_gradients_are_looked_at_too(tmp_path: Path, step: int) -> None:
    optimizer = partial(torch.optim.Adam, lr=0.05)
    message, steps = stop(tmp_path, Ranking(Sparse, BadLoss(step), optimizer=optimizer))
    assert steps == step and "output of loss" in message
    sound = trainer(tmp_path, max_epochs=1, callbacks=[StopOnNonFinite()])
    sound.fit(Ranking(Sparse, optimizer=optimizer), data())
    assert sound.global_step > 0
