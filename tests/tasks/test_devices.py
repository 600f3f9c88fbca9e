"""Every task on one, two and three processes: the same figures, and at an equal global batch the same training."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from recsys_lightning.batches import CSR
from recsys_lightning.data.negatives import NegativeSampler
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.models import HybridRecommender, LightGCN
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.conditioning import Conditioning
from recsys_lightning.tasks.ranking import Ranking
from tests.models.diffusion import planted
from tests.tasks.planted import world
from tests.tasks.test_base import data, trainer
from tests.tasks.test_optimizers import Sparse

adam = partial(torch.optim.Adam, lr=0.02)


class NextItem(NegativeSampler):
    """The item after the positive: the same for a pair wherever it is drawn, so that processes do not differ."""

    def prepare(self, train: CSR, num_items: int, known: CSR | None = None) -> None:
        super().prepare(train, num_items, known)
        self.log_q = torch.zeros(num_items, device=train.col.device)

    def draw(self, user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        return ((item + 1) % len(self.log_q))[:, None]


class Job(NamedTuple):
    """What is trained on what, in batches of 48 of all processes together."""

    task: Callable[[], Task]
    data: Callable[[Path, int], Any]
    close: float
    """How far the losses of epochs and the figures may be apart."""


def pairs(_: Path, size: int) -> InteractionsDataModule:
    made = data()
    made.batch_size = size
    return made


def vectors(folder: Path, size: int) -> EmbeddingDataModule:
    return world(folder, users=90, items=60, batch_size=size, val=1).data


def conditions(_: Path, size: int) -> EmbeddingDataModule:
    return planted.data(batch_size=size)


def ranking(model: Callable[..., Any], **options: Any) -> Callable[[], Task]:
    return partial(Ranking, model, optimizer=adam, **options)


hybrid = partial(HybridRecommender, views="graph", dim=8, heads=2)
JOBS: dict[str, Job] = {
    "pairs": Job(ranking(partial(LightGCN, dim=4), negatives=NextItem()), pairs, 0.02),
    "sparse tables": Job(ranking(Sparse, negatives=NextItem()), pairs, 0.02),
    "histories": Job(ranking(partial(hybrid, hide=0.0, dropout=0.0), negatives=NextItem()), pairs, 0.02),
    "conditioning": Job(partial(Conditioning, optimizer=adam), vectors, 0.15),
    "diffusion": Job(partial(planted.diffusion, steps=2), conditions, 0.15),
}
EPOCHS = 3


class Losses(Callback):
    """Notes the mean loss of each epoch over all processes, and asks whether these keep the same parameters."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self._sums: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        self._sums.append(outputs["loss"].detach().float())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.found.append(float(trainer.strategy.reduce(torch.stack(self._sums).mean(), reduce_op="mean")))
        self._sums = []

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        whole = trainer.strategy.all_gather(parameters_to_vector(pl_module.parameters()).detach())
        assert (whole.reshape(trainer.world_size, -1) == whole.reshape(trainer.world_size, -1)[0]).all()
        path = Path(trainer.default_root_dir) / f"losses-{trainer.world_size}.pt"
        if trainer.is_global_zero:
            torch.save(torch.tensor(self.found), path)


def on(processes: int) -> dict[str, Any]:
    return {} if processes == 1 else {"devices": processes, "strategy": "ddp_fork"}


def measured(name: str, processes: int, folder: Path) -> tuple[list[float], list[dict[str, float]]]:
    """Losses of epochs on so many processes; what is then measured on one, and on so many."""
    torch.set_num_threads(1)
    job = JOBS[name]
    torch.manual_seed(0)
    task, module = job.task(), job.data(folder, 48 // processes)
    saved = ModelCheckpoint(folder, f"trained-{processes}")
    made = trainer(folder, max_epochs=EPOCHS, callbacks=[Losses(), saved], limit_val_batches=0, **on(processes))
    made.fit(task, module)
    found = []
    for some in sorted({1, processes}):
        tester = trainer(folder, **on(some))
        tester.test(job.task(), module, ckpt_path=folder / f"trained-{processes}.ckpt", verbose=False)
        found.append({name: float(value) for name, value in tester.callback_metrics.items()})
    losses: Tensor = torch.load(folder / f"losses-{processes}.pt", weights_only=True)
    return losses.tolist(), found


def check(elsewhere: Executor, folder: Path, name: str, processes: int) -> None:
    one, [alone] = elsewhere.submit(measured, name, 1, folder).result(timeout=300)
    many, [first, second] = elsewhere.submit(measured, name, processes, folder).result(timeout=300)
    assert first["test/users"] == alone["test/users"] > 0
    assert second == pytest.approx(first, abs=1e-6, nan_ok=True)
    assert many == pytest.approx(one, rel=JOBS[name].close)
    assert one[-1] < one[0]


@pytest.mark.parametrize("name", ["histories", "conditioning"])
def test_two_processes_train_and_measure_as_one_does(elsewhere: Executor, tmp_path: Path, name: str) -> None:
    """Guarantee G12; DDP without find_unused_parameters fails where a parameter has no gradient."""
    check(elsewhere, tmp_path, name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("name", JOBS)
def test_so_does_every_task_on_two_and_three(elsewhere: Executor, tmp_path: Path, name: str, processes: int) -> None:
    check(elsewhere, tmp_path, name, processes)


class Rate(Callback):
    """Keeps the learning rate and the best of what its scheduler watched, on each process, at the end."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scheduler: Any = pl_module.lr_schedulers()
        own = torch.tensor([trainer.optimizers[0].param_groups[0]["lr"], scheduler.best], dtype=torch.float64)
        whole = trainer.strategy.all_gather(own)
        if trainer.is_global_zero:
            torch.save(whole, Path(trainer.default_root_dir) / "rates.pt")


def slowed(folder: Path) -> list[list[float]]:
    """Rate and best loss of each of two processes after a training that stops learning."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scheduler = partial(ReduceLROnPlateau, monitor="train/loss_epoch", patience=0, factor=0.5)
    task = Ranking(partial(LightGCN, dim=4), optimizer=partial(torch.optim.Adam, lr=0.5), lr_scheduler=scheduler)
    made = trainer(folder, max_epochs=14, callbacks=[Rate()], limit_val_batches=0, **on(2))
    made.fit(task, pairs(folder, 24))
    rates: Tensor = torch.load(folder / "rates.pt", weights_only=True)
    return rates.tolist()


@pytest.mark.slow
def test_a_scheduler_watches_the_same_figure_on_every_process(elsewhere: Executor, tmp_path: Path) -> None:
    """Each process has a loss of its own rows; one that took it for all would soon learn at another rate."""
    one, other = elsewhere.submit(slowed, tmp_path).result(timeout=300)
    assert one == other and one[0] < 0.5


@pytest.mark.parametrize("name", ["pairs", "histories", "conditioning"])
def test_half_precision_clipped_and_accumulated_stays_finite(tmp_path: Path, name: str) -> None:
    """Others have tests of their own in half precision; 16-mixed is bf16-mixed on a CPU, see `test_finite.py`."""
    job = JOBS[name]
    torch.manual_seed(0)
    task = job.task()
    more = {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2, "precision": "bf16-mixed"}
    made = trainer(tmp_path, max_epochs=2, limit_val_batches=0, callbacks=[losses := Losses()], **more)
    made.fit(task, job.data(tmp_path, 48))
    assert made.global_step > 2 and torch.tensor(losses.found).isfinite().all()
    assert all(parameter.isfinite().all() for parameter in task.parameters())
    made.test(task, job.data(tmp_path, 48), verbose=False)
    assert made.callback_metrics["test/ndcg_10"] > 0
