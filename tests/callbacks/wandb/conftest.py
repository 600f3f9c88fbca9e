"""Offline runs of the real command line, made once for all tests that read them back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml

from recsys_lightning.cli.wandb_account import PROJECT
from recsys_lightning.data.recipe import Recipe
from tests.conftest import REPOSITORY
from tests.wandb_log import Logged, read_run

CANARY = "canary" * 6
"""A key of W&B, which must not be in anything that a run writes."""


@dataclass(frozen=True)
class Told:
    """What a command left: its folder, and what W&B was told."""

    folder: Path
    run: Logged

    @property
    def metrics(self) -> dict[str, Any]:
        """Of a test, but for the time that it took."""
        found: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text())
        return {name: value for name, value in found.items() if name not in ("seconds", "checkpoint")}


@dataclass(frozen=True)
class Home:
    """Where commands are carried out, in this process, and where they write."""

    root: Path

    @contextmanager
    def quiet(self, tolerate: bool = False) -> Iterator[list[str]]:
        """Options of every command. What W&B was not told is an error, but where that is tolerated."""
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.setattr("sys.argv", ["recsys"])
            patch.setenv("WANDB_API_KEY", CANARY)
            patch.setenv("WANDB_DATA_DIR", str(self.root / "wandb-data"))
            patch.setenv("WANDB_PROJECT", "")
            patch.setenv("PL_GLOBAL_SEED", "0")  # put back, whatever the run sets
            patch.setattr("recsys_lightning.callbacks.watching.picture", lambda section: section.title)  # takes long
            warnings.simplefilter("ignore")
            kind: Literal["always", "error"] = "always" if tolerate else "error"
            warnings.filterwarnings(kind, message="Weights & Biases was not told")
            runs = f"--trainer.default_root_dir={self.root / 'runs'}"
            yield [runs, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]

    def recsys(self, *words: object, tolerate: bool = False) -> None:
        """Carry out a command, which must succeed."""
        from recsys_lightning.cli import main

        with self.quiet(tolerate) as shell:
            assert main([*map(str, words), *shell]) == 0, words

    def told(self, *words: object) -> Told:
        """Carry out a command with W&B."""
        known = self.logs()
        self.recsys(*words, "--trainer.logger=WandbLogger")
        [new] = self.logs() - known
        return self.read(new)

    def logs(self) -> set[Path]:
        """Folders that W&B wrote."""
        return set(self.root.glob("runs/wandb/offline-run-*"))

    def read(self, log: Path) -> Told:
        """What was written there, and the run's own folder."""
        return Told(self.root / "runs" / PROJECT / log.name.rsplit("-", 1)[1], read_run(log))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    yield Home(tmp_path_factory.mktemp("wandb"))


@pytest.fixture(scope="session")
def ranking(home: Home) -> dict[str, Told]:
    """LightGCN on some users of the embedded sample: fit, test and predict; floors are known."""
    config = REPOSITORY / "experiments" / "movietweetings" / "lightgcn.yaml"
    data = [
        "--data.recipe.limit_users=150",
        "--data.recipe.limit_items=300",
        "--model.recommender.layers=1",
        "--trainer.max_epochs=1",
    ]
    options = [f"--config={config}", *data, "--trainer.log_every_n_steps=1"]
    home.recsys("floors", *options)
    fit = home.told("fit", *options)
    checkpoint = f"--ckpt_path={fit.folder / 'checkpoints' / 'best.ckpt'}"
    saved = f"--config={fit.folder / 'config.yaml'}"
    test = home.told("test", saved, checkpoint)
    return {
        "fit": fit,
        "test": test,
        "predict": home.told("predict", saved, checkpoint, "--trainer.callbacks=WriteVectors"),
    }


@pytest.fixture(scope="session")
def on_vectors(home: Home) -> dict[str, list[Told]]:
    """Conditioning and Diffusion on vectors of a small world of two domains: fit and test of each, by task.

    Both are of one command line, as to read one takes longer than to train on small data.
    """
    from recsys_lightning.cli.trainer import make_cli
    from recsys_lightning.reports.floors import compute_floors

    folder, vectors = REPOSITORY / "experiments" / "synthetic-domains", made_vectors(home.root / "made")
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--trainer.logger=WandbLogger"]
    found: dict[str, list[Told]] = {}
    for task, (name, *options) in TASKS.items():
        known = home.logs()
        words = [f"--config={folder / name}.yaml", *SMALL, f"--data.vectors={vectors}", *short, *options]
        with home.quiet() as shell:
            cli = make_cli(["fit", *words, *shell], run=True)
            compute_floors(cli.datamodule, cli.model.k, torch.device("cpu"), say=lambda line: None)
            best = cli.trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
            cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False, weights_only=True)
        new = sorted(home.logs() - known, key=lambda log: log.stat().st_mtime_ns)
        found[task] = [home.read(log) for log in new]
    return found


WORLD: dict[str, Any] = {"users": 60, "items": {"movie": 40, "book": 36}, "rows": 9}
SMALL = [f"--data.interactions.{name}={value}" for name, value in WORLD.items()]
DIFFUSION = [f"--model.recommender.{option}" for option in ("width=16", "depth=1", "steps=2", "samples=1")]
TASKS = {
    "Conditioning": ["conditioner", "--trainer.callbacks=[DomainDiversity,CosineDiagnostics]"],
    "Diffusion": ["diffusion", "--trainer.callbacks=[]", "--trainer.check_val_every_n_epoch=1", *DIFFUSION],
}


def made_vectors(folder: Path) -> Path:
    """Vectors of a small world, noted as an artifact of the run that is said to have made them."""
    from recsys_lightning.batches import Vectors
    from recsys_lightning.callbacks.wandb.artifacts import LEDGER, file_digest
    from recsys_lightning.data.vectors import write_vectors
    from recsys_lightning.datamodules.datasets import SyntheticDomains

    config = yaml.safe_load((REPOSITORY / "experiments" / "synthetic-domains" / "data.yaml").read_text())["init_args"]
    prepared = SyntheticDomains(**{**config, **WORLD, "recipe": Recipe(**config["recipe"])}).prepared
    made, draw = folder / "vectors.safetensors", torch.Generator().manual_seed(0)
    sizes = (prepared.num_users, prepared.num_items)
    write_vectors(made, Vectors(*(torch.randn(size, 8, generator=draw) for size in sizes)), prepared, "MF")
    noted = {"artifact": "me/mine/vectors-abc:1", "type": "vectors", "digest": file_digest(made), "offline": True}
    (folder / LEDGER).write_text(json.dumps({made.name: noted}))
    return made
