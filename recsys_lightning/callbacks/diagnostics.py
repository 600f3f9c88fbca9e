"""What lies behind the figures of a test: `diagnostics.json` beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from recsys_lightning.callbacks.diagnosis.lists import by_activity, by_popularity, of_kinds, samples
from recsys_lightning.callbacks.diagnosis.scores import of_scores
from recsys_lightning.callbacks.diagnosis.subject import Options, Subject
from recsys_lightning.callbacks.diagnosis.vectors import gates, of_vectors
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.data.loaders import RankingLoader
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.models.modes import evaluating
from recsys_lightning.tasks.evaluation import RankingTask

FILE = "diagnostics.json"


class Diagnostics(Callback):
    """Writes `diagnostics.json` into the run's folder, at the end of a test.

    Norms of vectors, whether near items share genres and the like, whether users point to their own items, gates by
    how well known an item or a user is, which features of items scores go with, accuracy by popularity and activity,
    and recommendations of a few users. A part appears where model and data have what it looks at.

    Args:
        users: whose lists are looked at, at most; more are sampled.
        pairs: of a user and an unseen item, whose scores are held against features of items; about so many.
        resamples: of every bootstrap.
        samples: users who are shown with their recommendations.
        neighbours: nearest items that are looked at for each item.
        seed: of all that is drawn.

    Raises:
        InputError: a number is too small.
    """

    def __init__(
        self,
        users: int = 5000,
        pairs: int = 50_000,
        resamples: int = 1000,
        samples: int = 6,
        neighbours: int = 10,
        seed: int = 0,
    ) -> None:
        self.options = Options(users, pairs, resamples, samples, neighbours, seed)
        least = Options(users=1, pairs=1, resamples=100, samples=0, neighbours=1, seed=0)
        for name, value in self.options._asdict().items():
            if value < getattr(least, name):
                raise InputError(f"Diagnostics was given {name} {value}; it must be at least {getattr(least, name)}.")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, and write the file; one process does."""
        folder = run_folder(trainer)
        data = getattr(trainer, "datamodule", None)
        if not (
            trainer.is_global_zero and isinstance(pl_module, RankingTask) and isinstance(data, InteractionsDataModule)
        ):
            return
        if data.schema.domains:
            rank_zero_warn("Diagnostics look at lists of all items together, and these data have several domains.")
            return
        with torch.no_grad(), evaluating(pl_module.recommender):
            found = diagnose(self._subject(pl_module, data))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, plain(found))

    def _subject(self, task: RankingTask, data: InteractionsDataModule) -> Subject:
        loader = data.test_dataloader()
        assert isinstance(loader, RankingLoader)
        users = loader.relevant.degree.nonzero()[:, 0]
        if len(users) > self.options.users:
            chosen = np.random.default_rng([self.options.seed, 0]).choice(len(users), self.options.users, replace=False)
            users = users[torch.from_numpy(np.sort(chosen)).to(users.device)]
        state = task.recommender.encode(task.views)
        return Subject(task, data, state, loader.seen, loader.relevant, users, self.options)


def diagnose(subject: Subject) -> dict[str, Any]:
    """All parts that there are."""
    parts = {
        **of_vectors(subject),
        "gate": gates(subject),
        **of_scores(subject),
        "buckets": [*by_popularity(subject), *by_activity(subject)],
        "samples": samples(subject),
        "hit_ratios": of_kinds(subject),
    }
    return {name: part for name, part in parts.items() if part}


def plain(value: Any) -> Any:
    """Values as JSON knows them: six digits of every number, and null for what is none."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
