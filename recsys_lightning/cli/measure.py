"""Runs the beginning of a training as `recsys fit` would, in a folder that is gone at once, and measures it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from recsys_lightning.batches import Views
from recsys_lightning.cli.trainer import RecsysCLI
from recsys_lightning.models.memory import forget_peak, peak, resident
from recsys_lightning.reports.estimate import NOTHING, Event, Kind, Plan, Seconds
from recsys_lightning.schema import TEST, VAL
from recsys_lightning.tasks.evaluation import RankingTask

LEAST_STEPS = 5
"""Behind the first one."""
LONGEST = 10
"""So many times as long as asked for is measured, where steps are too slow for the least number of them."""


class Clock:
    """Durations since the last look; waits for the device, so that what it does is counted where it was asked for.

    Args:
        begin: what `time.perf_counter` and `time.process_time` said when it began.
    """

    def __init__(self, begin: Seconds) -> None:
        self.device: torch.device | None = None
        self._last = begin

    def lap(self) -> Seconds:
        """Since the last lap."""
        now, before = self._now(), self._last
        self._last = now
        return Seconds(now.wall - before.wall, now.cpu - before.cpu)

    def _now(self) -> Seconds:
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return Seconds(time.perf_counter(), time.process_time())


class Stopwatch(Callback):
    """Times the parts of a training and its validations, notes the memory that they take, and ends it.

    Args:
        clock: that ran since the program began.
        seconds: of training steps, after which it ends.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.start = NOTHING
        self.events: list[Event] = []
        self.held: dict[str, int | None] = {}
        self.sizes: dict[str, int] = {}
        self.plan = Plan(0, 0, 0.0, None)
        self._worked = self._waited = 0.0
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is there that stays."""
        device = pl_module.device
        self.clock.device = device
        self.start = self.clock.lap()
        self.held["before"] = resident(device)
        self.held["start"] = peak(device)
        forget_peak(device)
        steps, every = int(trainer.num_training_batches), trainer.val_check_batch
        batches = sum(int(size) for size in trainer.num_val_batches)
        validations = steps / every if every and batches and trainer.enable_validation else 0.0
        whole = trainer.check_val_every_n_epoch is not None
        self.plan = Plan(steps, batches, float(int(validations)) if whole else validations, None)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What lay between two epochs."""
        self._note("epoch")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step; the last one, where enough is known."""
        took = self._note("step")
        self._steps += 1
        if self._steps > 1:
            self._worked += min(took)  # where others keep the machine busy, the clock tells less
            self._waited += took.wall
        known = self._steps > LEAST_STEPS and self._worked >= self.seconds
        if known or (self._steps > 1 and self._waited >= LONGEST * self.seconds):
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""
        if trainer.sanity_checking:
            return
        self._note("rank")
        self._remember("training", pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of users."""
        if not trainer.sanity_checking:
            self._note("ranked")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The figures are made."""
        if not trainer.sanity_checking:
            self._note("figures")
            self._remember("ranking", pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is left of an epoch."""
        self._note("end")
        self._remember("training", pl_module.device)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count what has stayed."""
        own, task = [*pl_module.parameters()], pl_module
        views = [task.fitting_views, task.views] if isinstance(task, RankingTask) else []
        self.sizes = {
            "views": bytes_of(*views, besides=own),
            "parameters": bytes_of(*own),
            "gradients": bytes_of(*(one for one in own if one.requires_grad)),
            "optimizer": bytes_of(*trainer.optimizers, besides=own),
        }

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End at once when told to: a measurement cannot be gone on with, as the trainer would say next."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt):
            raise exception

    def _note(self, kind: Kind) -> Seconds:
        took = self.clock.lap()
        self.events.append(Event(kind, took))
        return took

    def _remember(self, part: str, device: torch.device) -> None:
        """The most of a part, over all its times."""
        now, before = peak(device), self.held.get(part)
        self.held[part] = now if before is None or now is None else max(now, before)
        forget_peak(device)


class Cut:
    """The beginning of a loader, as long as it is to be measured; its length is that of the whole.

    Args:
        loader: of batches.
        seconds: after which no more are handed out, but two at least.
    """

    def __init__(self, loader: Any, seconds: float) -> None:
        self.loader, self.seconds = loader, seconds

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        begin = time.perf_counter()
        for number, batch in enumerate(self.loader):
            if number > 1 and time.perf_counter() - begin > self.seconds:
                return
            yield batch


class Asked(NamedTuple):
    """What the configuration says of a training, and the measuring leaves out."""

    every: int | None  # epochs from one validation to the next
    epochs: int | None
    steps: int | None
    devices: int


class MeasuringCLI(RecsysCLI):
    """As `recsys fit`, but in a given folder, on one device, and with nothing that reaches beyond.

    Its class attributes are set for the one instance that is made.
    """

    folder = ""
    stopwatch: Stopwatch
    asked: Asked

    def before_instantiate_classes(self) -> None:
        """Note what is asked for, and change what would keep it from being measured."""
        config = self._get(self.config, "trainer")
        every, epochs, steps = config.check_val_every_n_epoch, config.max_epochs, config.max_steps
        MeasuringCLI.asked = Asked(
            every,
            epochs if epochs is not None and epochs >= 0 else None,
            steps if steps is not None and steps >= 0 else None,
            _number(config) * int(config.num_nodes),
        )
        config.logger = None  # W&B would hear of it
        config.default_root_dir = self.folder
        config.devices, config.num_nodes, config.strategy = 1, 1, "auto"
        config.min_epochs, config.min_steps = None, None
        config.check_val_every_n_epoch = None if every is None else 1
        config.enable_progress_bar = config.enable_model_summary = False
        super().before_instantiate_classes()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        return super()._instantiate_trainer(config, [*callbacks, self.stopwatch])


def _number(config: Namespace) -> int:
    """Devices that are asked for on each machine."""
    devices = config.devices
    if isinstance(devices, list | tuple):
        return len(devices)
    if str(devices).isdecimal():
        return int(devices)
    return max(1, torch.cuda.device_count()) if config.accelerator in ("auto", "gpu", "cuda") else 1


def cut_validation(data: Any, seconds: float, closed_form: bool) -> None:
    """Let a datamodule's validation end after some time; of closed forms, rank for the test where there is no val."""
    whole = data.val_dataloader

    def loader() -> Any:
        found = data.ranking_loader(TEST) if closed_form and not data.holds(VAL) else whole()
        return Cut(found, seconds) if len(found) else found

    data.val_dataloader = loader


def bytes_of(*values: object, besides: Iterable[Tensor] = ()) -> int:
    """Memory of all tensors that objects hold, each once.

    Args:
        values: tensors, views, optimizers, networks, graphs, or collections of them.
        besides: what is not counted.
    """
    known = {one.untyped_storage().data_ptr() for one in besides}
    sizes: dict[int, int] = {}
    visited: set[int] = set()
    found: list[object] = [*values]
    while found:
        one = found.pop()
        if id(one) in visited:
            continue
        visited.add(id(one))
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, nn.Module):
            found += [*one.parameters(), *one.buffers()]
        elif isinstance(one, dict):
            found += one.values()
        elif isinstance(one, list | tuple):
            found += one
        elif isinstance(one, Views | torch.optim.Optimizer) or type(one).__module__.startswith("torch_geometric"):
            found += vars(one).values()
    return sum(size for place, size in sizes.items() if place not in known)
