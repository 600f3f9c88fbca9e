"""Scores of pairs of a user and an unseen item, held against features of the items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lightning.callbacks.diagnosis.subject import Subject
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.explain.ranking import SCORES
from recsys_lightning.metrics.correlation import correlations, within_users
from recsys_lightning.metrics.sharing import Kind

ALPHA = 0.05
"""Largest q of a correlation that is called significant."""
MOST_USERS = 1000
"""Users among whom the pairs are shared out."""
TOP, LEAST = 20, 10
"""Values of a kind whose correlations are looked at, and items that have each of them at least."""


def of_scores(subject: Subject) -> dict[str, Any]:
    """Scores against features of items, over pairs of a user and an unseen item; and the same features, dealt out."""
    options = subject.options
    user, item, score = _pairs(subject)
    table, names = feature_table(subject.data, subject.kinds, subject.popularity)
    found = correlations(user, item, within_users(user, score), table, names, options.resamples, ALPHA, options.seed)
    if not found.features:
        return {}
    return {
        "correlations": found.features,
        "correlations_about": {
            "users": len(np.unique(user)),
            "items": len(np.unique(item)),
            "pairs": len(user),
            "resamples": options.resamples,
            "alpha": ALPHA,
            "permuted": {"features": len(found.control), "significant": sum(one.significant for one in found.control)},
        },
    }


def _pairs(subject: Subject) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Users, items that each of them has not seen, and the scores of both: (N,) each."""
    rng = np.random.default_rng([subject.options.seed, 2])
    count, num_items = min(MOST_USERS, len(subject.user), subject.options.pairs), subject.model.num_items
    place = torch.from_numpy(np.sort(rng.choice(len(subject.user), count, replace=False)))
    user = subject.user[place.to(subject.user.device)]
    row = np.repeat(np.arange(count), subject.options.pairs // count)
    drawn = np.unique(row * num_items + rng.integers(0, num_items, len(row)))
    seen_row, seen_item = subject.seen.select(user).cpu().numpy()
    drawn = drawn[~np.isin(drawn, seen_row * num_items + seen_item)]
    row, item = np.divmod(drawn, num_items)
    score = np.empty(len(row))
    step = max(1, SCORES // num_items)
    for first in range(0, count, step):
        chosen = slice(*np.searchsorted(row, [first, first + step]))
        u = subject.model.users(subject.state, user[first : first + step])
        scores = subject.model.score_all(u, subject.state).cpu().double().numpy()
        score[chosen] = scores[row[chosen] - first, item[chosen]]
    return user.cpu().numpy()[row], item, score


def feature_table(
    data: InteractionsDataModule, kinds: list[Kind], popularity: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[str]]:
    """Features of items (I, F) as numbers, and their names.

    The popularity as log(1 + train rows); the numbers among the model's features, or else all columns of numbers that
    describe items, with the mean where a value is unknown; the most frequent values of each kind as 0 and 1.
    """
    columns = {"popularity (log)": np.log1p(popularity.astype(np.float64))}
    items = data.prepared.items
    if data.item_features is not None:
        made = data.item_features.tensors().numbers.double().numpy()
        columns |= {name: made[:, place] for place, name in enumerate(data.item_features.numbers)}
    else:
        for name in items.select_dtypes("number"):
            values = items[name].to_numpy(np.float64, na_value=np.nan)
            if np.isfinite(values).any():
                columns[str(name)] = np.where(np.isfinite(values), values, values[np.isfinite(values)].mean())
    for kind in kinds:
        count = np.bincount(kind.of.col.numpy(), minlength=len(kind.values))
        most = np.argsort(-count, kind="stable")[:TOP]
        top = most[count[most] >= LEAST]
        flags = kind.table[:, top].toarray().astype(np.float64)
        columns |= {f"{kind.name}: {kind.values[value]}": flags[:, place] for place, value in enumerate(top)}
    return np.stack(list(columns.values()), axis=1), list(columns)
