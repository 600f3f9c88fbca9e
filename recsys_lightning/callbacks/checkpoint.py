"""Checkpoints that survive: written whole or not at all, and the newest good one found where another is broken."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import STEP_OUTPUT

from recsys_lightning.atomic import TEMPORARY, replacing, write_text
from recsys_lightning.callbacks.signals import ENDED, EVERY, Termination, end, say_how_to_go_on
from recsys_lightning.errors import InputError, linked

SIZES = "sizes.json"
"""Beside checkpoints: how many bytes each was written with, to tell a truncated one."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What is said where a disk is full, or a user's share of it, or a file has become larger than it may."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is complete.

    Lightning's own writer goes through the system's temporary folder, which is no atomic move where that is another
    file system, and truncates the previous checkpoint when the disk is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write and move into place.

        Raises:
            InputError: it cannot be written, as where the disk is full; the previous checkpoint is as it was.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(checkpoint, path)
        except (OSError, RuntimeError) as error:
            said = _in_words(error, path, _size(checkpoint))
            if said is None:
                raise
            raise said from error
        with suppress(OSError):  # sizes only make a message clearer
            _remember_size(path, path.stat().st_size)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint, as plain values and tensors only.

        Raises:
            InputError: there is none, or it is broken.
        """
        return read_checkpoint(Path(path), map_location or "cpu")


class BestAndLast(ModelCheckpoint):
    """Keeps `best.ckpt` by a val metric, and `last.ckpt` of the last epoch to resume from.

    Lightning's own `save_last` writes only where the epoch was among the best.

    A training that SIGTERM ends writes `last.ckpt` first: after the step that it is in, or where the epoch is over
    after the validation, which is not cut short. The process ends with the status 143.

    Args:
        monitor: the metric that selects.
        mode: `max` where more is better.
        every_n_steps: write `last.ckpt` also in the middle of epochs, after so many optimizer steps. Not after the last
            batch of an epoch: the validation that follows writes it, and a run that was killed in between repeats it.
    """

    def __init__(self, monitor: str = "val/ndcg_10", mode: str = "max", every_n_steps: int | None = None) -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        if every_n_steps is not None and every_n_steps < 1:
            raise InputError(f"checkpoint.every_n_steps is {every_n_steps}; it must be at least 1.")
        self.every_n_steps = every_n_steps
        self._fits = True
        self._step = 0
        self._termination = Termination()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder out, sweep what killed runs left in it, and make sure that it can be written to."""
        super().setup(trainer, pl_module, stage)
        self._fits = stage == "fit"
        if not self._fits or not trainer.is_global_zero or self.dirpath is None:
            return
        folder = Path(self.dirpath)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"Checkpoints cannot be written to {folder} ({error.strerror}). Choose a writable folder: "
                "--trainer.default_root_dir FOLDER."
            ) from error

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know the best score again, where the best checkpoint lies in this run's folder, however that was spelled.

        Lightning forgets it where the folder is not the same string, and then overwrites the best checkpoint by a
        worse one.
        """
        best = Path(state_dict["best_model_path"]).name
        if not best or self.dirpath is None:
            super().load_state_dict(state_dict)
        elif Path(self.dirpath, best).is_file():
            here = str(Path(self.dirpath, best))
            places = {"dirpath": self.dirpath, "best_model_path": here, "kth_best_model_path": here}
            super().load_state_dict({**state_dict, **places, "best_k_models": {here: state_dict["best_model_score"]}})
        elif self._fits:
            rank_zero_warn(
                f"The best checkpoint so far, {state_dict['best_model_path']}, does not lie in {self.dirpath}: what is "
                "best there will be the best of the epochs from here on."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from where the run begins or goes on; hear of SIGTERM, now that Lightning's own handler stands."""
        super().on_train_start(trainer, pl_module)
        self._termination.listen(trainer)
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` in the middle of an epoch, when asked to."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        if not stepped or trainer.is_last_batch:
            return
        ends = (trainer.world_size == 1 or self._step % EVERY == 0) and self._termination.asked(trainer)
        if ends or (self.every_n_steps and self._step % self.every_n_steps == 0):
            self._write_last(trainer)
        if ends:
            end()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `best.ckpt` where this is the best, and `last.ckpt`."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer) and not trainer.sanity_checking:
            self._write_last(trainer)
            self._end_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same where no validation follows."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._write_last(trainer)
            self._end_if_asked(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how a run that was stopped can be gone on with, and let it end with the status of what stopped it."""
        super().on_exception(trainer, pl_module, exception)
        if isinstance(exception, SIGTERMException):
            exception.code = ENDED
        if isinstance(exception, SIGTERMException | KeyboardInterrupt):
            say_how_to_go_on(trainer, Path(self.dirpath) / "last.ckpt" if self.dirpath else None)

    def _end_if_asked(self, trainer: Trainer) -> None:
        if self._termination.asked(trainer):
            end()

    def _write_last(self, trainer: Trainer) -> None:
        if trainer.state.fn == "fit" and not getattr(trainer, "fast_dev_run", False):
            assert self.dirpath is not None
            self.last_model_path = str(Path(self.dirpath) / "last.ckpt")
            trainer.save_checkpoint(self.last_model_path)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> Any:
    """A checkpoint's content, as plain values and tensors only.

    Raises:
        InputError: there is none, or it is broken; names the newest good one beside it.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"There is no checkpoint {path}.") from error
    except Exception as error:
        size, whole = path.stat().st_size, _sizes(path.parent).get(path.name)
        found = f"{size:,} bytes" if whole in (None, size) else f"{size:,} of {whole:,} bytes"
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(f"The checkpoint {path} ({found}) cannot be read: {reason}.") from error


def usable_checkpoint(path: Path) -> Path:
    """The checkpoint itself, or for a broken `last.ckpt` the newest good one beside it, with a warning.

    Raises:
        InputError: the checkpoint is broken; names the newest good one beside it.
    """
    if not path.is_file():
        raise InputError(f"There is no checkpoint {path}.")
    try:
        read_checkpoint(path)
        return path
    except InputError as error:
        good = _newest_good(path.parent, path)
        if good is None:
            raise InputError(f"{error} No other checkpoint in its folder is good: start again.") from error
        if path.name != "last.ckpt":
            raise InputError(f"{error} The newest good one beside it is {good}.") from error
        warnings.warn(f"{error} Going on from {good} instead.", stacklevel=2)
        return good


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with replacing(path, durable=True) as temporary, temporary.open("xb") as file:
        torch.save(checkpoint, file)


def _in_words(error: Exception, path: Path, needed: int) -> InputError | None:
    """What to say of a checkpoint that could not be written; None where that is no fault of the file's place."""
    # torch says something of its own, raised while it handles what the system said
    cause = next((link for link in linked(error) if isinstance(link, OSError)), None)
    free = shutil.disk_usage(_existing(path.parent)).free
    if free < needed or (cause is not None and cause.errno in FULL):
        limit = "" if cause is None or cause.errno == errno.ENOSPC else f", but the system says: {cause.strerror}"
        return InputError(
            f"There is no room for the checkpoint {path}: it needs about {needed:,} bytes and {free:,} are free{limit}."
            " The previous checkpoint is intact. Free some space, then resume from it."
        )
    if cause is None:
        return None
    return InputError(
        f"The checkpoint {path} cannot be written ({cause.strerror}). The previous one is intact. Make its folder "
        "writable, then resume from it."
    )


def _existing(folder: Path) -> Path:
    """A folder, or the nearest above it that is there."""
    return folder if folder.is_dir() else _existing(folder.parent)


def _sweep(folder: Path) -> None:
    """Remove what writers left that are no more."""
    for leftover in folder.glob(f".*{TEMPORARY}*"):
        pid = leftover.name.rpartition(TEMPORARY)[2].split("-")[0]
        if not (pid.isdigit() and Path("/proc").is_dir() and Path("/proc", pid).exists()):
            leftover.unlink(missing_ok=True)


def _newest_good(folder: Path, broken: Path) -> Path | None:
    if not folder.is_dir():
        return None
    others = [path for path in folder.glob("*.ckpt") if path != broken]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            read_checkpoint(path)
            return path
        except InputError:
            continue
    return None


def _sizes(folder: Path) -> dict[str, int]:
    try:
        sizes: dict[str, int] = json.loads((folder / SIZES).read_text(encoding="utf-8"))
        return sizes
    except (OSError, ValueError):
        return {}


def _remember_size(path: Path, size: int) -> None:
    write_text(path.parent / SIZES, json.dumps({**_sizes(path.parent), path.name: size}))


def _size(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_size(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(entry) for entry in value)
    return 64
