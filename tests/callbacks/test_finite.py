from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from recsys_lightning.batches import PairBatch, Views
from recsys_lightning.callbacks.finite import StopOnNonFinite
from recsys_lightning.errors import NonFiniteError
from recsys_lightning.losses.ranking import Loss, bpr
from recsys_lightning.models.base import Embeddings
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.ranking import Ranking
from tests.tasks.test_base import QUIET, data, trainer
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


def scaled(folder: Path, task: Ranking, start: float) -> tuple[Trainer, list[float]]:
    """A training in float16 on this CPU, which Lightning itself knows in bfloat16 only; the scales of the loss."""
    scaler, scales = torch.amp.GradScaler("cpu", init_scale=start), []

    class Scales(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            for parameter in pl_module.parameters():
                parameter.register_hook(lambda gradient: gradient.half().float())

        def on_train_batch_end(self, *_: Any) -> None:
            scales.append(scaler.get_scale())

    half = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    quiet = {**QUIET, "num_sanity_val_steps": 0, "limit_val_batches": 0}
    made = Trainer(default_root_dir=folder, plugins=[half], callbacks=[StopOnNonFinite(), Scales()], **quiet)
    made.fit_loop.max_epochs = 3
    return made, scales


@pytest.mark.parametrize("model", [partial(MF, dim=4), Sparse], ids=["dense", "sparse"])
def test_what_the_scaler_of_the_loss_mends_is_no_fault(tmp_path: Path, model: Any) -> None:
    task = Ranking(model, optimizer=partial(torch.optim.Adam, lr=0.05))
    made, scales = scaled(tmp_path, task, start=2.0**40)
    made.fit(task, data())
    assert scales[0] == 2.0**39 and 1 < scales[-1] < 2.0**30  # so many steps were left out, and the others were made
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_a_bad_loss_is_one_all_the_same(tmp_path: Path) -> None:
    task = Ranking(partial(MF, dim=4), BadLoss(step=3))
    made, _ = scaled(tmp_path, task, start=1024.0)
    with pytest.raises(NonFiniteError, match="batch 3"):
        made.fit(task, data())


def test_gradients_that_no_scale_helps_are_one_at_last(tmp_path: Path) -> None:
    class Steep(MF):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            self.user.register_hook(lambda gradient: gradient * torch.inf)

    task = Ranking(partial(Steep, dim=4))
    made, scales = scaled(tmp_path, task, start=8.0)
    with pytest.raises(NonFiniteError, match="the gradient of"):
        made.fit(task, data())
    assert scales == [4.0, 2.0, 1.0]
    assert torch.isfinite(task.recommender.user).all()
