"""Whether a diffusion recommender diffuses, and what for: `checks.json` beside the figures of a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from recsys_lightning.batches import RankingBatch, Vectors, Views
from recsys_lightning.callbacks.diagnostics import plain
from recsys_lightning.callbacks.results import write_json
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.data.vectors import read_vectors
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import mean_interval, paired_interval
from recsys_lightning.metrics.domains import metrics_of
from recsys_lightning.metrics.evaluator import PerUser
from recsys_lightning.metrics.significance import chance, holm
from recsys_lightning.models.base import Embeddings, Recommender
from recsys_lightning.models.closed_form import ClosedForm
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender, Encoded
from recsys_lightning.models.diffusion.sampling import Sampler, noise_of
from recsys_lightning.models.domains import by_domain, domain_of
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.modes import evaluating
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.reports.floors import compute_floors, everywhere
from recsys_lightning.reports.run.diffusion import (
    CONDITIONS,
    FILE,
    ONE_STEP,
    OTHERS,
    TESTED,
    UNCONDITIONAL,
    USERS,
    sentences,
)
from recsys_lightning.tasks.evaluation import RankingTask

FLOORS: tuple[type[ClosedForm], ...] = (Popularity, EASE)
LOOKED_AT = 512
"""Tested users of a domain, at most, whose samples of two seeds are compared."""

Values = NDArray[np.float64]
Scores = Callable[[RankingBatch], Tensor]
COMPARED = {
    TESTED: ("Popularity", "EASE", CONDITIONS, USERS, ONE_STEP, OTHERS),
    OTHERS: ("Popularity",),
    UNCONDITIONAL: ("Popularity",),
}


class DiffusionChecks(Callback):
    """Writes `checks.json` into the run's folder at the end of a test of a diffusion recommender, and says it.

    Ranked again, on the same users: with the conditions of other users (exchanged within the domain), without
    conditions, with other guidance, and in one step, where the network acts as a regressor. Beside them stand the dot
    products of the conditions and of the user embedding, and the floors Popularity and EASE, the latter tuned on val.
    Differences are paired by user, with bootstrap intervals of this training; what is claimed of them is claimed after
    Holm's correction for all comparisons of the file, by paired t tests. Other guidance is looked at and chooses
    nothing: these are test rows.

    What the same network is worth when it is trained as a regressor, a run with `timesteps` 1 tells.

    Args:
        guidance: what else to sample with; 0 is always among it.
        user_vectors: file of the user embedding that the conditions were made of, as WriteVectors leaves it. None
            where the conditions are that embedding, or it is not to stand beside them.
        resamples: of every bootstrap.
        seed: of the exchange and the bootstraps.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        guidance: Sequence[float] = (1.0, 2.0, 4.0, 8.0),
        user_vectors: Path | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        if not all(isfinite(value) and value >= 0 for value in guidance):
            raise InputError(f"DiffusionChecks was given guidance {list(guidance)}; each must be at least 0.")
        if resamples < 100 or seed < 0:
            raise InputError(
                f"DiffusionChecks was given resamples {resamples} and seed {seed}; at least 100 and 0 are needed."
            )
        self.guidance = tuple(guidance)
        self.user_vectors, self.resamples, self.seed = user_vectors, resamples, seed

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rank again in all these ways, on all processes; one writes and says what was found.

        Raises:
            InputError: the file of the user embedding cannot be read, or holds conditions.
        """
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, RankingTask) or not isinstance(data, InteractionsDataModule):
            return
        if not isinstance(pl_module.recommender, DiffusionRecommender):
            name = type(pl_module.recommender).__name__
            rank_zero_warn(f"DiffusionChecks looks at nothing: {name} does not diffuse.")
            return
        with torch.no_grad(), evaluating(pl_module.recommender):
            found = self.check(pl_module, data)
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / FILE, plain(found))
            print("", *(entry["text"] for entry in found["sentences"]), sep="\n")

    def check(self, task: RankingTask, data: InteractionsDataModule) -> dict[str, Any]:
        """All that is found, as `checks.json` holds it."""
        model = task.recommender
        assert isinstance(model, DiffusionRecommender)
        state, figure = model.encode(task.views), f"ndcg_{task.k[0]}"
        values, notes = self._values(task, data, model, state, figure)
        names = task.domains or ("",)
        assert task.per_user is not None
        tested = _tested(task.per_user, len(names))
        differences: list[dict[str, Any]] = [
            {"of": of, "against": against, "domain": name, "p": chance(values[of][code], values[against][code])}
            | paired_interval(values[of][code], values[against][code], draws=self.resamples, seed=self.seed)._asdict()
            for code, name in enumerate(names)
            for of, others in COMPARED.items()
            for against in others
            if of in values and against in values and code in values[of]
        ]
        for entry, p in zip(differences, holm([entry["p"] for entry in differences]), strict=True):
            entry["holm"] = p
        ways = [
            {"name": way, "domain": name, "users": len(of[code])}
            | mean_interval(of[code], draws=self.resamples, seed=self.seed)._asdict()
            for way, of in values.items()
            for code, name in enumerate(names)
            if code in of
        ]
        found = {
            "figure": figure,
            "domains": list(names),
            "schedule": {
                "timesteps": model.schedule.timesteps,
                "final_alpha_bar": model.schedule.final_alpha_bar,
                "prediction": model.prediction,
            },
            "sampler": asdict(model.sampler),
            "start": [
                {"domain": name} | _start(model, state, tested[code].to(task.device), code)
                for code, name in enumerate(names)
                if len(tested[code])
            ],
            "ways": ways,
            "differences": differences,
            "notes": notes,
        }
        return {**found, "sentences": sentences(found)}

    def _values(
        self,
        task: RankingTask,
        data: InteractionsDataModule,
        model: DiffusionRecommender,
        state: Encoded,
        figure: str,
    ) -> tuple[dict[str, dict[int, Values]], list[str]]:
        """The figure of each user, by way and domain; and why some way is missing."""
        assert task.per_user is not None
        chosen, told = model.sampler, _exchanged(task.per_user, model.num_users, model.num_domains, self.seed)
        values = {TESTED: _by_domain(task.per_user, figure)}

        def rank(name: str, scores: Scores) -> None:
            values[name] = _by_domain(_ranked(task, data, scores), figure)

        def draw(name: str, sampler: Sampler, told: Tensor | None = None) -> None:
            rank(name, lambda batch: _drawn(model, state, batch, sampler, told))

        draw(OTHERS, chosen, told.to(task.device))
        draw(UNCONDITIONAL, replace(chosen, guidance=0.0))
        for guidance in sorted({*self.guidance} - {0.0, chosen.guidance}):
            draw(f"guidance {guidance:g}", replace(chosen, guidance=guidance))
        if chosen.steps > 1:
            draw(ONE_STEP, replace(chosen, steps=1))
        for name, vectors in self._dot_products(task.views, data).items():
            rank(name, _dot(vectors, task.views))
        notes, kinds = [], {kind.__name__: kind for kind in FLOORS}
        for floor in compute_floors(data, task.k, task.device, list(kinds), lambda _: None):
            if floor.name not in kinds:  # known from another command
                continue
            if floor.note:
                notes.append(floor.note)
                continue
            solved = kinds[floor.name](data.schema, **floor.options).to(task.device)
            try:
                rank(floor.name, everywhere(partial(_floor, solved, task)))
            except InputError as error:
                notes.append(str(error))
        return values, notes

    def _dot_products(self, views: Views, data: InteractionsDataModule) -> dict[str, Vectors]:
        found = {CONDITIONS if views.vectors.user.dim() == 3 else USERS: views.vectors}
        if self.user_vectors is not None:
            path = self.user_vectors
            vectors = everywhere(lambda: _read(path, data))
            if vectors.user.dim() != 2:
                raise InputError(
                    f"{self.user_vectors} holds a vector of each user in each domain; DiffusionChecks.user_vectors is "
                    "to name the file of the embedding that has one for all."
                )
            found[USERS] = Vectors(*(part.to(views.device) for part in vectors))
        return found


def _ranked(task: RankingTask, data: InteractionsDataModule, scores: Scores) -> PerUser:
    """Values of the tested users when they are ranked by these scores."""
    metrics = metrics_of(task.k, task.views, task.domains, task.fitting_views.popularity)
    for batch in data.test_dataloader():
        metrics.update(batch, scores(batch))
    metrics.compute()
    return metrics.per_user()


def _drawn(
    model: DiffusionRecommender, state: Encoded, batch: RankingBatch, sampler: Sampler, told: Tensor | None
) -> Tensor:
    domain = batch.domain or 0
    others = None if told is None else told[domain, batch.user]
    return model.score_all(model.users_in(state, batch.user, domain, sampler, others), state)


def _dot(vectors: Vectors, views: Views) -> Scores:
    """Scores by vectors of users, of each domain or for all."""
    several = vectors.user.dim() == 3
    user, item = by_domain(*vectors, domain_of(views)) if several else Embeddings(*vectors)
    return lambda batch: user[batch.user] @ item.T


def _floor(model: Recommender, task: RankingTask) -> Scores:
    model.fit(task.fitting_views)
    state = model.encode(task.views)
    return lambda batch: model.score_all(model.users(state, batch.user), state)


def _by_domain(found: PerUser, figure: str) -> dict[int, Values]:
    """Values of the users of each domain, ascending; domains in which nobody is tested are left out."""
    value = found.values[figure].cpu().double().numpy()
    if found.domain is None:
        return {0: value} if len(value) else {}
    code = found.domain.cpu().numpy()
    return {int(each): value[code == each] for each in np.unique(code)}


def _exchanged(found: PerUser, num_users: int, num_domains: int, seed: int) -> Tensor:
    """(M, U) whose condition each user is told: of another tested user of the domain, where there is one."""
    told = torch.arange(num_users).expand(num_domains, -1).clone()
    for code, users in enumerate(_tested(found, num_domains)):
        circle = users[torch.from_numpy(np.random.default_rng([seed, code]).permutation(len(users)))]
        told[code, circle] = circle.roll(1)
    return told


def _tested(found: PerUser, num_domains: int) -> list[Tensor]:
    """The users who are tested in each domain, ascending, on the CPU."""
    domain = torch.zeros_like(found.user) if found.domain is None else found.domain
    return [found.user[domain == code].cpu() for code in range(num_domains)]


def _start(model: DiffusionRecommender, state: Encoded, tested: Tensor, code: int) -> dict[str, Any]:
    """Mean and deviation of what samples start from; and how much of single samples' variance is the noise's doing."""
    user = tested[:LOOKED_AT]
    noise = noise_of(user, code, 1, model.dim, model.sampler.seed)
    one = replace(model.sampler, samples=1)
    pair = [model.sample(state, user, code, replace(one, seed=one.seed + other)) for other in (0, 1)]
    within = (pair[0] - pair[1]).square().sum() / 2
    total = (torch.stack(pair) - torch.cat(pair).mean(0)).square().sum()
    return {
        "mean": float(noise.mean()),
        "std": float(noise.std()),
        "spread": min(1.0, float(2 * within / total)) if total > 0 else 0.0,  # an estimate, which may pass 1
    }


def _read(file: Path, data: InteractionsDataModule) -> Vectors:
    """Vectors that have not seen more than the model.

    Raises:
        InputError: they have, or cannot be read.
    """
    frozen = read_vectors(file, data.prepared)
    if more := [split for split in frozen.rows if split not in data.visible_splits]:
        raise InputError(f"{file} was made of {', '.join(more)} rows too, which the model that is tested does not see.")
    return frozen.vectors
