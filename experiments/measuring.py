"""Runs of an ablation: each is what `recsys fit` and `recsys test` do, and a finished one is not done again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml
from comparisons import OF_RECOMMENDER, Variant
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from recsys_lightning.callbacks.checkpoint import BestAndLast
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.cli.trainer import RecsysCLI, make_cli
from recsys_lightning.code import code_digest
from recsys_lightning.metrics.domains import DomainMetrics, metrics_of
from recsys_lightning.metrics.evaluator import RankingMetrics
from recsys_lightning.reports.ablation import AMONG_COLD, ITEMS, USER, Training
from recsys_lightning.reports.gates import gate_table
from recsys_lightning.schema import DOMAIN, GIVEN, TEST, TRAIN, VAL

ORDERS = 20
"""Of equal items, that figures of models which tell nothing of cold items are averaged over."""
OF_MODEL = (OF_RECOMMENDER, "--model.contrastive=")
"""So begin the options of variants that leave the data as they are."""
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
TIMED = "--trainer.callbacks+={class_path: lightning.pytorch.callbacks.Timer, init_args: {interval: step}}"


class Run(NamedTuple):
    """What a run leaves.

    `values` has a row for each tested user, in each domain: raw id, domain where there are several, number of train
    items, metrics. `gates` is what the model's gates
    say, None of a model without gates. `training` and `checkpoint` are None of what trains nothing.
    """

    values: pd.DataFrame
    gates: pd.DataFrame | None
    training: Training | None
    checkpoint: Path | None


def measure(
    variant: Variant,
    seed: int,
    options: Sequence[str],
    folder: Path,
    cold: bool,
    data: dict[str, str],
    trained: Path | None = None,
) -> Run:
    """A variant under one seed; an earlier run where it was asked for the same.

    Args:
        variant: to run.
        seed: of the training.
        options: of every run.
        folder: of this run.
        cold: whether to rank among the cold items alone as well.
        data: what tells the data from others.
        trained: the checkpoint to test, of a variant without parameters of its own.
    """
    words = [*variant.options, *options, f"--seed_everything={seed}"]
    order = {"options": words, "files": _digests(variant), "data": data, "code": _code(), "trained": str(trained or "")}
    if (done := _finished(folder, order)) is not None:
        return done
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("values.parquet", "gates.parquet"):
        (folder / file).unlink(missing_ok=True)
    with (folder / "output.txt").open("w", encoding="utf-8") as output, contextlib.redirect_stdout(output):
        words = [*words, *QUIET, TIMED, f"--trainer.default_root_dir={folder}"]
        training, checkpoint = _fit(words) if variant.trained and not variant.of else (None, None)
        tested = trained or checkpoint
        cli = make_cli(["test", *words, *([f"--ckpt_path={tested}"] if tested else [])], run=True)
        run = Run(_values(cli, cold), gates(cli), training, checkpoint)
    _keep(run, folder, order)
    print(f"{variant.name}, seed {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return run


def _keep(run: Run, folder: Path, order: Mapping[str, object]) -> None:
    """Write a run; its values come last, and say that it is whole."""
    write_json(folder / "order.json", order)
    write_json(
        folder / "training.json",
        {"training": run.training and run.training._asdict(), "checkpoint": run.checkpoint and str(run.checkpoint)},
    )
    if run.gates is not None:
        run.gates.to_parquet(folder / "gates.parquet", index=False)
    run.values.to_parquet(folder / "values.parquet", index=False)


def _finished(folder: Path, order: Mapping[str, object]) -> Run | None:
    """The run of a folder; None where there is no whole one, or one of another order."""
    done, gates = folder / "values.parquet", folder / "gates.parquet"
    if not done.is_file() or json.loads((folder / "order.json").read_text(encoding="utf-8")) != order:
        return None
    kept = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    checkpoint = Path(kept["checkpoint"]) if kept["checkpoint"] else None
    if checkpoint is not None and not checkpoint.is_file():
        return None
    training = Training(**kept["training"]) if kept["training"] else None
    return Run(pd.read_parquet(done), pd.read_parquet(gates) if gates.is_file() else None, training, checkpoint)


def _digests(variant: Variant) -> dict[str, str]:
    """Of the configuration files: a run with another one is another run."""
    files = {
        Path(option.partition("=")[2]) for option in variant.options if option.startswith(("--config=", "--data="))
    }
    for file in [file for file in files if file.is_file()]:
        named = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("data")
        files |= {file.parent / named} if isinstance(named, str) else set()
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files) if file.is_file()}


def data_of(*words: str) -> dict[str, str]:
    """What tells the data of these options from others: raw files may have changed where options have not."""
    data = make_cli([*words, *QUIET], run=False).datamodule
    data.setup("fit")
    schema = data.schema
    return {"fingerprint": schema.fingerprint, "graph": schema.graph, "text": schema.text}


@functools.cache
def _code() -> str:
    """Digest of the code that the values come from, as it was when this process began with them."""
    return hashlib.sha256(code_digest().encode() + Path(__file__).read_bytes()).hexdigest()


def _fit(words: Sequence[str]) -> tuple[Training, Path]:
    """Train; how long it took, and the best checkpoint on val."""
    trainer = make_cli(["fit", *words], run=True).trainer
    checkpoint = trainer.checkpoint_callback
    [timer] = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    assert isinstance(checkpoint, BestAndLast)
    training = Training(timer.time_elapsed("train"), trainer.current_epoch)
    return training, Path(checkpoint.best_model_path).resolve()


def _values(tested: RecsysCLI, cold: bool) -> pd.DataFrame:
    """A row for each tested user, in each domain."""
    prepared, per_user = tested.datamodule.prepared, tested.model.per_user
    metrics = dict(per_user.values)
    if cold:
        metrics |= {f"{AMONG_COLD}{name}": value for name, value in among_cold(tested).items()}
    users = per_user.user.cpu()
    facts = {
        USER: prepared.users["user_id"].iloc[users.numpy()].to_numpy(),
        **({} if per_user.domain is None else {DOMAIN: np.array(prepared.domains)[per_user.domain.cpu().numpy()]}),
        ITEMS: prepared.csr(TRAIN).degree[users].numpy(),
    }
    return pd.DataFrame({**facts, **{name: value.cpu().numpy() for name, value in metrics.items()}})


def _visible(tested: RecsysCLI) -> tuple[str, ...]:
    """Splits whose rows the model saw when it was tested."""
    return (TRAIN, VAL, GIVEN) if tested.datamodule.test_views == "train+val" else (TRAIN, GIVEN)


def among_cold(tested: RecsysCLI) -> dict[str, Tensor]:
    """Metrics of the users of a test of the split item_cold, with the held-out items as the only candidates.

    Where a model knows nothing of them, one random order settles the ties of all users alike, and could be a lucky one:
    values are then means over several orders.
    """
    found = []
    for seed in range(ORDERS):
        metrics = _rank_cold(tested, seed)
        ties = metrics.compute()["constant_rows"] > 0
        found.append(metrics.per_user().values)
        if not ties:
            break
    return {name: torch.stack([values[name] for values in found]).mean(0) for name in found[0]}


@torch.no_grad()
def _rank_cold(tested: RecsysCLI, seed: int) -> RankingMetrics | DomainMetrics:
    task, views = tested.model, tested.model.views
    model = task.recommender.to(views.device).eval()
    visible = _visible(tested)
    rows = tested.datamodule.prepared.known(*(split for split in (VAL, TEST) if split not in visible)).col
    other = (rows.bincount(minlength=views.num_items) == 0).to(views.device)
    metrics = metrics_of(task.k, views, task.domains, seed=seed)
    state = model.encode(views)
    for batch in tested.datamodule.ranking_loader(TEST):
        scores = model.score_all(model.users(state, batch.user), state)
        metrics.update(batch, scores.masked_fill(other, -torch.inf))
    return metrics


@torch.no_grad()
def gates(tested: RecsysCLI) -> pd.DataFrame | None:
    """What the gates of a tested model say, and of how well known an item or user; None where it has none.

    The review gate is a constant by rule where an item lacks overview or reviews; such items are left out of it.
    """
    model, views = tested.model.recommender, tested.model.views
    if not hasattr(model, "gates") or not (found := model.to(views.device).eval().gates(views)):
        return None
    history = tested.datamodule.prepared.known(*_visible(tested)).degree
    reviews = views.text.num_reviews.cpu() if model.reads_text else None
    tables = []
    for name, gate in found.items():
        if name == "user":
            tables.append(gate_table(name, gate.cpu().numpy(), history.numpy()))
            continue
        chosen = torch.ones_like(gate, dtype=torch.bool).cpu()
        if name == "review" and reviews is not None:
            chosen = views.text.known.cpu() & (reviews > 0)
        columns = (tensor.cpu()[chosen].numpy() for tensor in (gate, views.popularity))
        tables.append(gate_table(name, *columns, None if reviews is None else reviews[chosen].numpy()))
    return pd.concat(tables, ignore_index=True)
