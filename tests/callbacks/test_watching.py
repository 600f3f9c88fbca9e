from __future__ import annotations

import csv
import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.attention_diagnostics import AttentionDiagnostics
from recsys_lightning.callbacks.cosine_diagnostics import CosineDiagnostics
from recsys_lightning.callbacks.domain_diversity import DomainDiversity
from recsys_lightning.callbacks.overfitting import Overfitting
from recsys_lightning.callbacks.watching import Watch, drawn
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.vectors import write_vectors
from recsys_lightning.datamodules.embeddings import EmbeddingDataModule
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.losses.conditions import Reconstruction
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.models.mf import MF
from recsys_lightning.tasks.conditioning import Conditioning
from recsys_lightning.tasks.ranking import Ranking
from tests.callbacks.told import NOTHING, SAME, Scripted, Told, fit, masks, world
from tests.conftest import REPOSITORY, Recsys
from tests.tasks.test_base import data, trainer
from tests.worlds import MemorySource

WEIGHTS = torch.randn(120, 2, 2, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
STEPS = [(SAME + share * (masks() - SAME), NOTHING) for share in (0.2, 0.4, 0.6, 0.8)]
TITLES = {"Attention", "Users and their conditions", "Diversity of conditions", "Overfitting"}
FILES = ("attention_diagnostics", "cosine_diagnostics", "domain_diversity", "overfitting")


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than all else."""
    monkeypatch.setattr("recsys_lightning.callbacks.watching.picture", lambda section: section.title)


def watchers() -> list[Callback]:
    overfitting = Overfitting("val/ndcg_5", "max", patience=9)
    return [DomainDiversity(), CosineDiagnostics(), AttentionDiagnostics(patience=9), overfitting]


def task() -> Scripted:
    return Scripted(partial(Told, scale=SAME, shift=NOTHING, weights=WEIGHTS), STEPS, [4.0, 3.0, 2.0, 1.0])


def watch(folder: Path, epochs: int = 4, **options: object) -> Trainer:
    return fit(folder, task(), watchers()[0], epochs, **{"callbacks": watchers(), **options})


def figures(folder: Path) -> dict[str, list[dict[str, float]]]:
    return {name: json.loads((folder / f"{name}.json").read_text())["figures"] for name in FILES}


def test_every_logger_gets_every_figure(tmp_path: Path) -> None:
    made = watch(tmp_path, logger=CSVLogger(tmp_path, name="run", version="one"))
    folder = tmp_path / "run" / "one"
    with (folder / "metrics.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["conditions/diversity"]]
    kept = figures(folder)
    assert len(rows) == 4 and [row["epoch"] for row in kept["domain_diversity"]] == [1, 2, 3, 4]
    for group, name, figure in (
        ("conditions", "domain_diversity", "cka"),
        ("conditions", "cosine_diagnostics", "cosine_q05"),
        ("attention", "attention_diagnostics", "entropy"),
    ):
        logged = [float(row[f"{group}/{figure}"]) for row in rows]
        assert logged == pytest.approx([row[figure] for row in kept[name]], rel=1e-4), figure
    assert {"conditions/cosine_movie", "overfitting/gap", "attention/dead_heads"} <= set(made.callback_metrics)
    assert {path.read_text() for path in folder.glob("*.svg")} == TITLES


class Run:
    """What Weights & Biases would be told."""

    def __init__(self) -> None:
        self.shown: dict[str, object] = {}

    def log(self, values: dict[str, object]) -> None:
        self.shown |= values


def test_weights_and_biases_gets_histograms_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, run = pytest.importorskip("wandb"), Run()
    monkeypatch.setattr(WandbLogger, "experiment", run)
    monkeypatch.setattr(WandbLogger, "log_hyperparams", lambda *_, **__: None)
    watch(tmp_path, epochs=2, logger=WandbLogger(name="run", save_dir=tmp_path, version="one", offline=True))
    users = {"conditions/cosine_movie": 120, "conditions/diversity_movie_book": 120, "attention/entropy_book": 2 * 120}
    for name, count in users.items():
        histogram = run.shown[f"{name}_users"]
        assert isinstance(histogram, wandb.Histogram) and sum(histogram.histogram) == count, name
    table = run.shown["conditions/domain_diversity"]
    assert isinstance(table, wandb.Table) and len(table.data) == 2 and "cka" in table.columns
    assert isinstance(run.shown["conditions/diversity"], float)


def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    watch(tmp_path / "one")
    two = {"devices": 2, "strategy": "ddp_fork"}
    watch(tmp_path / "two", **two)
    one, many = figures(tmp_path / "one"), figures(tmp_path / "two")
    for name in FILES:
        for mine, other in zip(one[name], many[name], strict=True):
            assert other == pytest.approx(mine, abs=1e-5), name


def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    watch(tmp_path / "whole")
    saved = ModelCheckpoint(tmp_path / "ckpt", "half", save_on_train_epoch_end=True)
    watch(tmp_path / "parts", epochs=2, callbacks=[*watchers(), saved])
    made = trainer(tmp_path / "parts", max_epochs=4, limit_train_batches=1, callbacks=watchers())
    made.fit(task(), world(tmp_path / "parts"), ckpt_path=tmp_path / "ckpt" / "half.ckpt", weights_only=True)
    whole, parts = figures(tmp_path / "whole"), figures(tmp_path / "parts")
    for name in FILES:
        for mine, other in zip(whole[name], parts[name], strict=True):
            assert other == pytest.approx(mine, rel=1e-6), name


@pytest.mark.parametrize("kind", [DomainDiversity, CosineDiagnostics, AttentionDiagnostics])
def test_tasks_without_conditions_are_passed_over_in_a_sentence(tmp_path: Path, kind: type[Watch]) -> None:
    with pytest.warns(UserWarning, match=f"{kind.__name__} looks at nothing: MF makes no conditions of users") as said:
        trainer(tmp_path, max_epochs=3, callbacks=[kind()]).fit(Ranking(partial(MF, dim=4)), data())
    assert sum("looks at nothing" in str(one.message) for one in said) == 1
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob("*.svg"))


def of_one_domain(folder: Path) -> EmbeddingDataModule:
    inner = InteractionsDataModule(MemorySource(), Recipe(split="leave_last_out", val=1, test=1))
    random, prepared = torch.Generator().manual_seed(0), inner.prepared
    vectors = Vectors(*(torch.randn(n, 8, generator=random) for n in (prepared.num_users, prepared.num_items)))
    write_vectors(folder / "vectors.safetensors", vectors, prepared, "Planted")
    return EmbeddingDataModule(inner, folder / "vectors.safetensors")


def test_one_domain_and_one_head_are_looked_at(tmp_path: Path) -> None:
    conditioning = Conditioning(partial(Conditioned, heads=1), losses=[Reconstruction()], k=[5])
    callbacks = [CosineDiagnostics(), AttentionDiagnostics(), DomainDiversity()]
    with pytest.warns(UserWarning) as said:
        made = trainer(tmp_path, max_epochs=1, callbacks=callbacks)
        made.fit(conditioning, of_one_domain(tmp_path))
    nothing = [str(one.message) for one in said if "looks at nothing" in str(one.message)]
    assert nothing == ["DomainDiversity looks at nothing: the data have one domain."]
    for name, figure in (("cosine_diagnostics", "cosine"), ("attention_diagnostics", "entropy")):
        found = json.loads((tmp_path / f"{name}.json").read_text())
        [row] = found["figures"]
        assert row[figure] > 0 and None not in row.values() and "divergence" not in row
    assert json.loads((tmp_path / "cosine_diagnostics.json").read_text())["said"][0].startswith("all: ")
    assert all(value.isfinite() for name, value in made.callback_metrics.items() if "attention" in name)
    assert (tmp_path / "attention_diagnostics.svg").read_text() == "Attention"


def test_a_validation_alone_is_not_watched(tmp_path: Path) -> None:
    model, callback = task(), DomainDiversity()
    made = fit(tmp_path, model, callback, 4)
    made.validate(model, world(tmp_path), verbose=False)
    assert len(callback.rows) == 4


class Parameters(Callback):
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.state = torch.get_rng_state()


def test_watching_changes_nothing(tmp_path: Path) -> None:
    """The random numbers of a training are the same with and without."""
    ends = []
    for callbacks in ([], watchers()):
        end = Parameters()
        fit(tmp_path, task(), end, 2, callbacks=[*callbacks, end])
        ends.append(end.state)
    assert torch.equal(*ends)


@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 5))
def test_a_sample_is_part_of_all_and_always_the_same(number: int, most: int, seed: int) -> None:
    values = np.arange(number) * 3
    chosen = drawn(values, most, seed)
    assert len(chosen) == min(number, most) and set(chosen) <= set(values) and (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, drawn(values, most, seed))


def test_so_many_users_are_looked_at(tmp_path: Path) -> None:
    callback = DomainDiversity(users=7)
    fit(tmp_path, task(), callback, 1)
    assert sum(callback.spreads["diversity_movie_book"].counts) == 7


@pytest.mark.parametrize(("option", "value"), [("users", 1), ("patience", 0), ("seed", -1)])
def test_numbers_that_are_too_small_are_refused(option: str, value: int) -> None:
    with pytest.raises(InputError, match=f"CosineDiagnostics was given {option} {value}; it must be at least"):
        CosineDiagnostics(**{option: value})


def test_the_command_line_knows_them_by_their_short_names(recsys: Recsys, tmp_path: Path) -> None:
    config = REPOSITORY / "experiments" / "movietweetings" / "mf.yaml"
    names = ("DomainDiversity", "CosineDiagnostics", "AttentionDiagnostics", "SwapTest", "Overfitting")
    words = [f"--trainer.callbacks+={name}" for name in names]
    limits = ["--trainer.max_epochs", 2, "--trainer.limit_train_batches", 2]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome = recsys("fit", "--config", config, *limits, *words)
    assert outcome.status == 0, outcome.err
    for name in names[:3]:
        assert outcome.err.count(f"recsys: {name} looks at nothing: MF makes no conditions of users.") == 1
    [file] = tmp_path.rglob("overfitting.json")
    assert len(json.loads(file.read_text())["figures"]) == 2 and file.with_suffix(".svg").is_file()
