"""What a test run leaves in its folder: metrics.json, facts.json, per_user.parquet and report.md."""

from __future__ import annotations

import json
import math
import platform
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from recsys_lightning import __version__
from recsys_lightning.atomic import replacing, write_text
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.data.audit.future import future
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.reports.domains import Group, groups_of
from recsys_lightning.reports.floors import cached_floors
from recsys_lightning.reports.ranking import RankingReport
from recsys_lightning.reports.run.facts import facts_of
from recsys_lightning.reports.run.page import write_pages
from recsys_lightning.reports.tested import DAYS, POPULARITY, ROWS
from recsys_lightning.reports.user_groups import Scored, Traits, left_out, traits_of, user_groups
from recsys_lightning.schema import TEST
from recsys_lightning.tasks.evaluation import RankingTask


class WriteResults(Callback):
    """Writes the results of a ranking test, and prints them beside the floors where those are known.

    `metrics.json` is flat: `test/ndcg_10` and the like, then what they were measured on. `facts.json` holds what else
    `recsys report` needs: floors, steps of the data, versions. `per_user.parquet` holds a row for each user, by raw
    id, with what users are grouped by (`rows` that the model saw of the user, mean `popularity` of the held-out items,
    `days` to the first of these where there are any) and the values whose means the metrics are; where there are
    several domains, for each user in each `domain`.
    `report.md` is for people; it is written last, as it has what other callbacks wrote at the end of the test, such as
    diagnostics.json.
    """

    def __init__(self) -> None:
        self._start = 0.0
        self._folder: Path | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the task of the tests that were run before its training goes on."""
        if isinstance(pl_module, RankingTask) and trainer.ckpt_path:
            pl_module.steps_of_tests.extend(_read_steps(trainer.ckpt_path))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()
        self._folder = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        folder = run_folder(trainer)
        data = getattr(trainer, "datamodule", None)
        if not (
            trainer.is_global_zero and isinstance(pl_module, RankingTask) and isinstance(data, InteractionsDataModule)
        ):
            return
        folder.mkdir(parents=True, exist_ok=True)
        schema, seconds = data.schema, round(time.perf_counter() - self._start, 3)
        facts = {
            "model": type(pl_module.recommender).__name__,
            "data": schema.name,
            "split": schema.split,
            "fingerprint": schema.fingerprint,
            **({"domains": list(schema.domains)} if schema.domains else {}),
            **({"graph": schema.graph} if pl_module.reads_graph else {}),
            **({"text": schema.text} if pl_module.reads_text else {}),
            **({"features": schema.features} if pl_module.reads_features else {}),
            "users": int(pl_module.results["test/users"]),
            "seconds": seconds,
            "looked_at_test": pl_module.looked_at_test,
            "test_views": data.test_views,
            "checkpoint": str(trainer.ckpt_path or ""),
        }
        report = _report(pl_module, data, seconds)
        print(report.table())
        tested = _scored(pl_module, data)
        traits = traits_of(tested, data.prepared, data.visible_splits)
        with replacing(folder / "per_user.parquet") as file:
            _per_user_table(pl_module, data, traits).to_parquet(file, index=False)
        figures = {name: None if math.isnan(value) else value for name, value in pl_module.results.items()}
        buckets = {"buckets": user_groups(tested, traits, data.prepared), "left_out": left_out(tested, traits)}
        write_json(folder / "facts.json", {**facts_of(report), **buckets, **_circumstances(pl_module)})
        write_json(folder / "metrics.json", {**figures, **facts})
        if trainer.ckpt_path:
            _remember_steps(trainer.ckpt_path, pl_module.steps_of_tests)
        self._folder = folder

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the page, when all callbacks have written what it shows."""
        if stage != "test" or self._folder is None:
            return
        try:
            write_pages(self._folder, html=False)
        except InputError as error:  # the figures are safe: what lies beside them must not fail the test
            warnings.warn(f"There is no report.md: {error}", stacklevel=2)


def _report(task: RankingTask, data: InteractionsDataModule, seconds: float) -> RankingReport:
    schema = data.schema
    return RankingReport(
        model=type(task.recommender).__name__,
        data=schema.name,
        split=schema.split,
        fingerprint=schema.fingerprint,
        k=task.k,
        steps=data.prepared.steps,
        results=task.results,
        floors=cached_floors(data, task.k),
        seconds=seconds,
        looked_at_test=task.looked_at_test,
        visible=data.test_views,
        held_out=_held_out(data),
        future=future(data.prepared.interactions),
        domains=schema.domains,
        groups=_groups(task, data),
    )


def _held_out(data: InteractionsDataModule) -> int:
    """Users with held-out rows, each counted in each domain."""
    relevant, domain = data.prepared.csr(TEST), data.prepared.domain
    if domain is None:
        return len(relevant.degree.nonzero())
    place = relevant.row.numpy() * len(data.prepared.domains) + domain[relevant.col.numpy()]
    return len(np.unique(place))


def _groups(task: RankingTask, data: InteractionsDataModule) -> list[Group]:
    """Users by where the rows lie that they were scored by; none where there is one domain."""
    if not data.schema.domains:
        return []
    assert task.per_user is not None and task.per_user.domain is not None
    rows = data.views.rows_in_domains
    tensors = (task.per_user.values[f"ndcg_{task.k[0]}"], task.per_user.user, task.per_user.domain, rows)
    values, user, domain, rows_of = (tensor.cpu().numpy() for tensor in tensors)
    return groups_of(values, user, domain, rows_of, data.schema.domains)


def _scored(task: RankingTask, data: InteractionsDataModule) -> Scored:
    """The tested users, with their figures at the first cut-off."""
    assert task.per_user is not None
    k, (user, values, domain) = task.k[0], task.per_user
    recall, ndcg = (values[f"{name}_{k}"].cpu().numpy() for name in ("recall", "ndcg"))
    codes = None if domain is None else domain.cpu().numpy()
    return Scored(user.cpu().numpy(), codes, _rows(task, data).numpy(), recall, ndcg, k)


def _rows(task: RankingTask, data: InteractionsDataModule) -> Tensor:
    """Rows that the model saw of each tested user, of all domains."""
    assert task.per_user is not None
    return data.views.train.degree.cpu()[task.per_user.user.cpu()]


def _per_user_table(task: RankingTask, data: InteractionsDataModule, traits: Traits) -> pd.DataFrame:
    """A row for each tested user, in each domain."""
    assert task.per_user is not None
    user, values, domain = task.per_user
    users = data.prepared.interactions.user_ids.to_pandas().iloc[user.cpu().numpy()].to_numpy()
    names = {} if domain is None else {"domain": np.array(data.schema.domains)[domain.cpu().numpy()]}
    about: dict[str, Any] = {ROWS: _rows(task, data).numpy(), POPULARITY: traits.popularity}
    if traits.days is not None:
        about[DAYS] = pd.array(traits.days, dtype="Int64")
        about[DAYS][traits.days < 0] = pd.NA
    figures = {name: value.cpu().numpy() for name, value in values.items()}
    return pd.DataFrame({"user_id": users, **names, **about, **figures})


def _circumstances(task: RankingTask) -> dict[str, Any]:
    """When, on what and with what a test was run."""
    on_gpu = task.device.type == "cuda"
    return {
        "tested": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "device": torch.cuda.get_device_name(task.device) if on_gpu else task.device.type,
        "parameters": sum(parameter.numel() for parameter in task.recommender.parameters()),
        "versions": {
            "recsys_lightning": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
    }


def _steps_file(checkpoint: object) -> Path:
    """Beside the checkpoints of a run: at which of its steps tests were run, whichever process ran them."""
    return Path(str(checkpoint)).parent / "tests.json"


def _read_steps(checkpoint: object) -> list[int]:
    try:
        return [int(step) for step in json.loads(_steps_file(checkpoint).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _remember_steps(checkpoint: object, steps: Sequence[int]) -> None:
    try:
        write_json(_steps_file(checkpoint), sorted({*_read_steps(checkpoint), *steps}))
    except OSError as error:
        warnings.warn(f"That a test was run cannot be noted beside {checkpoint}: {error}.", stacklevel=2)


def write_json(path: Path, values: object) -> Path:
    """Write a JSON file whole or not at all."""
    return write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
