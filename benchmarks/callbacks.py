"""What watching a training of conditions costs, as a share of the epochs that are watched.

    python benchmarks/callbacks.py [--users 27785] [--items 4000] [--epochs 4] [--width 32]

A `Conditioning` of 27,785 users in two domains, once each an epoch, by three losses and with a validation after each
epoch, on a synthetic world and random frozen vectors; everything in one process on one thread. Of each callback the CPU
time of all its hooks in the epochs after the first is taken, histograms and logging to a CSV file included, and divided
by the CPU time of these epochs without their validation, and with it. The picture at the end of the fit is named
beside, as it is drawn once.

Goal: each below 2 % of an epoch, without counting its validation. Recorded in README.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.attention_diagnostics import AttentionDiagnostics
from recsys_lightning.callbacks.cosine_diagnostics import CosineDiagnostics
from recsys_lightning.callbacks.domain_diversity import DomainDiversity
from recsys_lightning.callbacks.overfitting import Overfitting
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.datasets import SyntheticDomains
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.losses.conditions import Cosine, Diversity, DomainRanking
from recsys_lightning.tasks.conditioning import Conditioning

GOAL = 0.02
HOOKS = ("on_validation_epoch_end", "on_train_epoch_end", "on_train_end")
END = "on_train_end"


class Clock(Callback):
    """CPU seconds of each epoch, of its validation, and of the hooks of other callbacks."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.validations: list[float] = []
        self.hooks: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._start = self._validation = 0.0

    def watch(self, callback: Callback) -> Callback:
        """The callback, with its hooks timed."""
        for name in HOOKS:
            setattr(callback, name, self._timed(type(callback).__name__, name, getattr(callback, name)))
        return callback

    def _timed(self, callback: str, hook: str, act: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: Any) -> None:
            start = time.process_time()
            act(*arguments)
            self.hooks[callback, hook].append(time.process_time() - start)

        return timed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._start = time.process_time()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._validation = time.process_time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Its seconds."""
        self.validations.append(time.process_time() - self._validation)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The seconds of the epoch."""
        self.epochs.append(time.process_time() - self._start)


def made(folder: Path, users: int, items: int, width: int) -> EmbeddingDataModule:
    """The world, with random vectors."""
    sizes = {"movie": items // 2, "book": items // 2}
    recipe = Recipe(split="leave_last_out", val=1, test=1)
    inner = SyntheticDomains(users=users, items=sizes, rows=8.0, recipe=recipe)
    generator = torch.Generator().manual_seed(0)
    sides = ((inner.prepared.num_users, width), (inner.prepared.num_items, width))
    vectors = Vectors(*(torch.randn(size, generator=generator) for size in sides))
    write_vectors(folder / "vectors.safetensors", vectors, inner.prepared, "random")
    return EmbeddingDataModule(inner, folder / "vectors.safetensors", batch_size=2048)


def main() -> None:
    """Train, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, value in (("users", 27_785), ("items", 4_000), ("epochs", 4), ("width", 32)):
        parser.add_argument(f"--{option}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    watched = [DomainDiversity(), CosineDiagnostics(), AttentionDiagnostics(), Overfitting("val/ndcg_10", "max")]
    with tempfile.TemporaryDirectory() as name:
        data = made(Path(name), options.users, options.items, options.width)
        Trainer(
            default_root_dir=name,
            logger=CSVLogger(name),
            accelerator="cpu",
            max_epochs=options.epochs,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*(clock.watch(callback) for callback in watched), clock],
        ).fit(Conditioning(losses=[DomainRanking(), Cosine(), Diversity()]), data)
    validation, whole = sum(clock.validations[1:]), sum(clock.epochs[1:])
    number = options.epochs - 1
    print(
        f"{options.users:,} users in 2 domains, {options.width} wide, one thread: {(whole - validation) / number:.2f} "
        f"CPU s an epoch of training, {validation / number:.2f} s its validation; means of {number} epochs"
    )
    print(f"{'callback':<22}{'ms an epoch':>12}{'of training':>13}{'with validation':>17}{'at the end, s':>15}")
    for callback in watched:
        kind = type(callback).__name__
        seconds = sum(sum(values[1:]) for (of, hook), values in clock.hooks.items() if of == kind and hook != END)
        end = sum(clock.hooks[kind, END])
        share = seconds / (whole - validation)
        verdict = "" if share < GOAL else f"  over {GOAL:.0%}"
        print(f"{kind:<22}{1e3 * seconds / number:>12.1f}{share:>13.2%}{seconds / whole:>17.2%}{end:>15.2f}{verdict}")


if __name__ == "__main__":
    main()
