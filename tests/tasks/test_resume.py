"""Runs of every task that are killed at the worst moments, and end as if nothing had been. Guarantee G15."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from recsys_lightning.callbacks import checkpoint as module
from recsys_lightning.callbacks.checkpoint import BestAndLast, read_checkpoint, usable_checkpoint
from recsys_lightning.data.negatives import Uniform
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.losses.ranking import SampledSoftmax
from recsys_lightning.models import GenreGAT, HybridRecommender, LightGCN
from recsys_lightning.tasks.base import Task
from recsys_lightning.tasks.conditioning import Conditioning
from recsys_lightning.tasks.evaluation import RankingTask
from recsys_lightning.tasks.ranking import Ranking
from tests.models.diffusion import planted
from tests.tasks.planted import world
from tests.tasks.test_base import data, trainer
from tests.tasks.test_optimizers import Sparse

adam = partial(torch.optim.Adam, lr=0.01)
decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.7)


class Job(NamedTuple):
    """What is trained on what."""

    task: Callable[[], Task]
    data: Callable[[Path], Any]


def ranking(model: Callable[..., Any], **options: Any) -> Job:
    def small(_: Path) -> InteractionsDataModule:
        made = data()
        made.batch_size = 48
        return made

    def make() -> Ranking:
        return Ranking(model, **{"optimizer": adam, "lr_scheduler": decay, **options})

    return Job(make, small)


def on_vectors(folder: Path) -> EmbeddingDataModule:
    return world(folder, users=90, items=60, batch_size=48, val=1).data


def on_conditions(_: Path) -> EmbeddingDataModule:
    return planted.data(batch_size=96)


JOBS: dict[str, Job] = {
    "pairs": ranking(partial(LightGCN, dim=4), loss=SampledSoftmax(logq=True), negatives=Uniform(3)),
    "sparse tables": ranking(Sparse),
    "histories": ranking(partial(HybridRecommender, views="graph", dim=8, heads=2)),
    "typed graph": ranking(partial(GenreGAT, dim=4, heads=2, fan_out=[3, 2])),
    "conditioning": Job(partial(Conditioning, optimizer=adam, lr_scheduler=decay), on_vectors),
    "diffusion": Job(partial(planted.diffusion, steps=2), on_conditions),
}
EPOCHS = 3
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate_grad_batches": 2},
    "clipped": {"gradient_clip_val": 0.01},
    "bf16": {"precision": "bf16-mixed"},
}


def fit(job: str, folder: Path, last: Path | None = None, *callbacks: Callback, **options: Any) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = JOBS[job].task()
    made = trainer(folder, max_epochs=EPOCHS, callbacks=[BestAndLast(every_n_steps=2), *callbacks], **options)
    made.fit(task, JOBS[job].data(folder.parent), ckpt_path=last)


def content(folder: Path) -> dict[str, dict[str, Any]]:
    return {name: read_checkpoint(folder / "checkpoints" / f"{name}.ckpt") for name in ("best", "last")}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# Moments to die at, each set up in the process that dies


def after_step(step: int) -> None:
    whole = BestAndLast.on_train_batch_end

    def end(self: BestAndLast, trainer: Any, *rest: Any) -> None:
        whole(self, trainer, *rest)
        if trainer.global_step == step:
            die()

    BestAndLast.on_train_batch_end = end  # type: ignore[method-assign]


def at_call(of: Any, name: str, number: int) -> None:
    """Die at the so-many-th call of a function."""
    whole, calls = getattr(of, name), []

    def end(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            die()
        return whole(*arguments, **options)

    setattr(of, name, end)


def half_written() -> None:
    """Die after half of a `last.ckpt` was written, where there is one already."""
    whole = torch.save

    def end(content: Any, file: Any) -> None:
        whole(content, file)
        place = Path(getattr(file, "name", ""))  # hyper-parameters are pickled through it too, into memory
        if "last.ckpt" in place.name and (place.parent / "last.ckpt").exists():
            file.flush()
            file.truncate(file.tell() // 2)
            die()

    module.torch.save = end


MOMENTS: dict[str, Callable[[], None]] = {
    "after a step": partial(after_step, 5),
    "in a half-written checkpoint": half_written,
    "before it is moved": partial(at_call, os, "replace", 3),
    "before its size is noted": partial(at_call, module, "_remember_size", 4),
    "between best and last": partial(at_call, BestAndLast, "_write_last", 4),
    "in a validation": partial(at_call, RankingTask, "_finish_ranking", 2),
}


def killed_and_resumed(job: str, moment: str, folder: Path, options: dict[str, Any]) -> bool:
    """Whether the weights are those of a run that was not killed. To be called where processes may fork."""
    fit(job, folder / "whole", **options)
    child = os.fork()
    if not child:
        try:
            MOMENTS[moment]()
            fit(job, folder / "killed", **options)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    last = usable_checkpoint(folder / "killed" / "checkpoints" / "last.ckpt")
    expected = content(folder / "whole")
    assert 0 < read_checkpoint(last)["global_step"] < expected["last"]["global_step"]
    fit(job, folder / "killed", last, **options)
    left = {path.name for path in last.parent.iterdir()}
    assert left == {"best.ckpt", "last.ckpt", "sizes.json"}, left
    same(content(folder / "killed"), expected)
    return True


def same(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    for name, checkpoint in expected.items():
        assert found[name]["global_step"] == checkpoint["global_step"]
        for part, weight in checkpoint["state_dict"].items():
            assert torch.equal(found[name]["state_dict"][part], weight), (name, part)
        states = (each["optimizer_states"][0]["state"] for each in (found[name], checkpoint))
        ours, theirs = ([value for slot in state.values() for value in slot.values()] for state in states)
        assert len(ours) == len(theirs) > 0
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(ours, theirs, strict=True))


def check(elsewhere: Executor, folder: Path, job: str, moment: str, options: str) -> None:
    assert elsewhere.submit(killed_and_resumed, job, moment, folder, OPTIONS[options]).result(timeout=300)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("job", "moment"), [("histories", "in a half-written checkpoint"), ("conditioning", "after a step")]
)
def test_killed_and_resumed_it_ends_with_the_same_weights(
    elsewhere: Executor, tmp_path: Path, job: str, moment: str
) -> None:
    check(elsewhere, tmp_path, job, moment, "plain")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("job", JOBS)
def test_so_does_every_task_at_every_moment(elsewhere: Executor, tmp_path: Path, job: str, moment: str) -> None:
    check(elsewhere, tmp_path, job, moment, "plain")


@pytest.mark.slow
@pytest.mark.parametrize("options", ["accumulated", "clipped", "bf16"])
@pytest.mark.parametrize("job", JOBS)
def test_so_does_every_task_with_every_option(elsewhere: Executor, tmp_path: Path, job: str, options: str) -> None:
    check(elsewhere, tmp_path, job, "after a step", options)


class Terminated(Callback):
    """Sends SIGTERM to its own process in the middle of what a hook is called for."""

    def __init__(self, hook: str, step: int) -> None:
        self.step, self.sent = step, False
        setattr(self, hook, self._send)

    def _send(self, trainer: Any, *rest: Any) -> None:
        if trainer.global_step >= self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


AT_A_STEP = ("on_before_optimizer_step", 3, {"accumulate_grad_batches": 2})
IN_VALIDATION = ("on_validation_batch_start", 1, {})


@pytest.mark.parametrize(
    ("hook", "step", "more"),
    [
        AT_A_STEP,
        IN_VALIDATION,
        pytest.param("on_train_batch_start", 3, {}, marks=pytest.mark.slow),
        pytest.param("on_train_epoch_end", 1, {}, marks=pytest.mark.slow),
        pytest.param("on_train_epoch_start", 1, {"limit_val_batches": 0}, marks=pytest.mark.slow),
        pytest.param("on_train_batch_start", 1, {"check_val_every_n_epoch": 2}, marks=pytest.mark.slow),
    ],
)
def test_told_to_end_it_saves_first(
    tmp_path: Path, hook: str, step: int, more: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    known = signal.getsignal(signal.SIGTERM)
    job, monitor = JOBS["pairs"], "train/loss_epoch" if "limit_val_batches" in more else "val/ndcg_10"

    def run(folder: Path, last: Path | None = None, *callbacks: Callback) -> Any:
        torch.manual_seed(0)
        keeper = BestAndLast(monitor, "min" if monitor.startswith("train") else "max")
        made = trainer(folder, max_epochs=EPOCHS + 1, callbacks=[keeper, *callbacks], **more)
        made.fit(job.task(), job.data(tmp_path), ckpt_path=last)

    run(tmp_path / "whole")
    with pytest.raises(SIGTERMException) as ended:
        run(tmp_path / "ended", None, Terminated(hook, step))
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == known
    last = tmp_path / "ended" / "checkpoints" / "last.ckpt"
    steps = read_checkpoint(last)["global_step"]
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("recsys: Training was stopped in epoch ") and f"after step {steps}." in said
    assert said.endswith(f"give {last} as ckpt_path.")
    run(tmp_path / "ended", last)
    same(content(tmp_path / "ended"), content(tmp_path / "whole"))
