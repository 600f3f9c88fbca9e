"""What the vectors of a tested model are like: lengths, cosines and gates as histograms, items on a plane."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from recsys_lightning.batches import Vectors
from recsys_lightning.callbacks.diagnosis.vectors import Gated
from recsys_lightning.callbacks.wandb.tables import Table
from recsys_lightning.callbacks.watching import Conditional
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.vectors import Spread, spread
from recsys_lightning.models.diffusion.recommender import DiffusionRecommender
from recsys_lightning.tasks.evaluation import RankingTask

POINTS = 2000
"""Items on the plane, the best known ones."""


def vectors_of(task: RankingTask) -> Vectors | None:
    """Vectors whose dot products are the scores; None where the model makes them otherwise, or has none.

    Of diffusion, those that it stands on.
    """
    if task.recommender.closed_form:
        return None
    if isinstance(task.recommender, DiffusionRecommender):  # to sample for everybody takes as long as the test
        return task.views.vectors
    try:
        return task.recommender.vectors(task.views)
    except InputError:
        return None


def histograms(task: RankingTask, vectors: Vectors | None) -> dict[str, Spread]:
    """How long vectors are, how far conditions turn from their users, and what gates let through.

    Of users and items with train rows: others may never have moved from where they began.
    """
    views = task.fitting_views
    users, items = views.train.degree > 0, views.popularity > 0
    found: dict[str, Tensor] = {}
    if vectors is not None:
        found["norm_item"] = vectors.item[items].norm(dim=-1)
        found |= _by_domain(task, "norm_user", vectors.user[users].norm(dim=-1))
    if isinstance(task.recommender, Conditional):
        condition, user = task.recommender.conditions(task.views)[users], views.vectors.user[users]
        if user.dim() == 2:
            found |= _by_domain(task, "cosine", cosine_similarity(condition, user[:, None], dim=-1))
    if isinstance(task.recommender, Gated):
        found |= {f"gate_{name}": gate for name, gate in task.recommender.gates(task.views).items()}
    kept = {name: values[values.isfinite()] for name, values in found.items()}
    return {name: spread(values.float()) for name, values in kept.items() if len(values)}


def projection_table(vectors: Vectors, prepared: Prepared, popularity: NDArray[np.int64]) -> Table | None:
    """Items on the plane in which their vectors differ most, with title and genre; None where they span no plane."""
    chosen = np.argsort(-popularity, kind="stable")[:POINTS]
    chosen = np.sort(chosen[popularity[chosen] > 0])
    if len(chosen) < 3 or vectors.item.shape[1] < 2:
        return None
    points = plane(vectors.item[torch.from_numpy(chosen).to(vectors.item.device)])
    kind, values = _first_values(prepared, chosen)
    domains = [""] * len(chosen)
    if prepared.domain is not None:
        domains = [prepared.domains[code] for code in prepared.domain[chosen]]
    titles, counts = prepared.items["title"].iloc[chosen].astype(str), popularity[chosen].tolist()
    rows = [list(row) for row in zip(*points.T.tolist(), titles, values, domains, counts, strict=True)]
    return Table(["x", "y", "title", kind, "domain", "train rows"], rows)


def plane(vectors: Tensor) -> NDArray[np.float64]:
    """(N, 2) coordinates of vectors (N, D) along their first two principal axes.

    Each axis points to where its largest part lies, so that the same vectors always make the same picture.
    """
    centred = vectors.detach().double() - vectors.detach().double().mean(0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, [-1, -2]]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    points: NDArray[np.float64] = (centred @ (axes * largest.sign())).cpu().numpy()
    return points


def _by_domain(task: RankingTask, name: str, values: Tensor) -> dict[str, Tensor]:
    """Values (U,), or (U, M) by domain."""
    if values.dim() == 1:
        return {name: values}
    return {f"{name}_{domain}": values[:, code] for code, domain in enumerate(task.domains or ("all",))}


def _first_values(prepared: Prepared, items: NDArray[np.int64]) -> tuple[str, list[str]]:
    """The first genre of items, or value of the first kind that there is, with the kind's name."""
    kinds = prepared.item_attributes
    kind = "genre" if "genre" in kinds else next(iter(kinds), "genre")
    if kind not in kinds:
        return kind, [""] * len(items)
    attribute = kinds[kind]
    first = np.minimum(np.searchsorted(attribute.item, items), len(attribute.item) - 1)
    has = attribute.item[first] == items
    return kind, [attribute.values[attribute.value[at]] if own else "" for at, own in zip(first, has, strict=True)]
