"""Norms, cohesion and alignment of vectors, and gates."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.diagnosis.subject import Subject
from recsys_lightning.metrics.buckets import bins
from recsys_lightning.metrics.ranks import rank_correlation
from recsys_lightning.metrics.sharing import cohesion, queries
from recsys_lightning.metrics.vectors import alignment, nearest, norms

BINS = 10
"""Bins of train rows in which gates are averaged."""


@runtime_checkable
class Gated(Protocol):
    """A model that weighs one view against another."""

    def gates(self, views: Views) -> dict[str, Tensor]:
        """Shares by name; those of all items (I,) or all users (U,) are looked at, NaN where there is none."""


def of_vectors(subject: Subject) -> dict[str, Any]:
    """Norms, cohesion and alignment, of users and items with train rows: others' vectors may never have moved."""
    if subject.vectors is None:
        return {}
    user, item = subject.vectors
    items = np.flatnonzero(subject.popularity > 0)
    trained = subject.task.fitting_views.train.degree > 0
    near: list[dict[str, Any]] = []
    if len(items) > 1 and subject.kinds:
        place = queries(np.arange(len(items)), subject.options.seed)
        where = torch.from_numpy(items).to(item.device)
        found = nearest(item[where], torch.from_numpy(place).to(item.device), subject.options.neighbours)
        of_kinds = [cohesion(kind, items[place], items[found.cpu().numpy()], items) for kind in subject.kinds]
        near = [one._asdict() for one in of_kinds if one is not None]
    known = torch.from_numpy(subject.popularity > 0).to(item.device)
    return {
        "norms": {"user": norms(user[trained]), "item": norms(item[known])},
        "cohesion": near,
        "alignment": alignment(user, item, subject.task.fitting_views.train, subject.options.seed),
    }


def gates(subject: Subject) -> dict[str, Any]:
    """How gates go with the number of train rows, of each item or user."""
    if not isinstance(subject.model, Gated):
        return {}
    rows = subject.task.fitting_views.train.degree.cpu().numpy()
    found = {}
    for name, tensor in subject.model.gates(subject.task.views).items():
        value = tensor.cpu().double().numpy()
        degree = rows if name == "user" else subject.popularity
        if value.shape != degree.shape:
            continue
        value, degree = value[~np.isnan(value)], degree[~np.isnan(value)]
        related = rank_correlation(value, degree.astype(np.float64), subject.options.resamples, subject.options.seed)
        if related is None:
            continue
        by = bins(degree, BINS)
        quartiles = [np.quantile(value[by.code == place], [0.25, 0.75]).tolist() for place in range(len(by))]
        points = [
            {
                "from": by.low[place],
                "to": by.high[place],
                "count": int((by.code == place).sum()),
                "mean": float(value[by.code == place].mean()),
                "low": quartiles[place][0],
                "high": quartiles[place][1],
            }
            for place in range(len(by))
        ]
        found[name] = {
            "spearman": related.spearman,
            "low": related.low,
            "high": related.high,
            "count": related.number,
            "points": points,
        }
    return found
