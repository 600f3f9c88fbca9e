"""Recommendations: how good they are for whom, and what they have in common with what their users had."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from recsys_lightning.batches import CSR
from recsys_lightning.callbacks.diagnosis.subject import Subject, rows_of
from recsys_lightning.metrics.bootstrap import mean_interval
from recsys_lightning.metrics.buckets import bins, recall_by
from recsys_lightning.metrics.sharing import Kind, hit_ratio, hit_ratios

ITEM_BINS, USER_BINS = 5, 4
NEWEST = 10
"""Items of a sample user's history that are shown."""


def by_popularity(subject: Subject) -> list[dict[str, Any]]:
    """Recall of the relevant items in buckets of their train rows; ndcg belongs to lists, not to items."""
    row, item = subject.relevant.select(subject.user).cpu().numpy()
    width, listed = subject.model.num_items, subject.lists.item.numpy()
    hit = np.isin(row * width + item, (np.arange(len(listed))[:, None] * width + listed)[subject.hits])
    by = bins(subject.popularity[item], ITEM_BINS)
    found = recall_by(by, row, hit, subject.options.resamples, subject.options.seed)
    return [
        {
            "of": "item popularity",
            "name": name,
            "users": share.users,
            "relevant": share.relevant,
            f"recall_{subject.k}": share.recall,
            "low": share.low,
            "high": share.high,
        }
        for name, share in zip(by.names, found, strict=True)
    ]


def by_activity(subject: Subject) -> list[dict[str, Any]]:
    """Means over users in buckets of the rows that the model knows of them; the interval is that of recall."""
    assert subject.task.per_user is not None
    user = subject.task.per_user.user.cpu()
    relevant = subject.relevant.degree.cpu()[user].numpy()
    names = [f"recall_{subject.k}", f"ndcg_{subject.k}"]
    values = [subject.task.per_user.values[name].cpu().numpy() for name in names]
    by = bins(subject.own.degree[user].numpy(), USER_BINS)
    found = []
    for place, name in enumerate(by.names):
        own = by.code == place
        recall = mean_interval(values[0][own], draws=subject.options.resamples, seed=subject.options.seed)
        figures = {
            names[0]: recall.mean,
            names[1]: float(values[1][own].mean()),
            "low": recall.low,
            "high": recall.high,
        }
        about = {"users": int(own.sum()), "relevant": int(relevant[own].sum())}
        found.append({"of": "user activity", "name": name, **about, **figures})
    return found


def of_kinds(subject: Subject) -> dict[str, Any]:
    """Of each kind, how often recommendations share a value with the user's own items."""
    own, seen = (rows_of(table, subject.user) for table in (subject.own, subject.seen))
    lists = subject.lists.item.numpy()
    found = {kind.name: hit_ratio(kind, own, seen, lists) for kind in subject.kinds}
    return {name: one for name, one in found.items() if one is not None}


def samples(subject: Subject) -> list[dict[str, Any]]:
    """A few users of all levels of activity, with what they had and what they are recommended."""
    degree = subject.own.degree[subject.user.cpu()].numpy()
    order = np.argsort(degree, kind="stable")[(degree == 0).sum() :]
    rng = np.random.default_rng([subject.options.seed, 3])
    levels = [level for level in np.array_split(order, max(1, subject.options.samples)) if len(level)]
    chosen = [int(rng.choice(level)) for level in levels[: subject.options.samples]]
    return [_sample(subject, place) for place in chosen]


def _sample(subject: Subject, place: int) -> dict[str, Any]:
    """One user, by the place among those that are looked at."""
    items, user = subject.data.prepared.items, int(subject.user[place])
    one = subject.user[place : place + 1]
    own, seen, listed = rows_of(subject.own, one), rows_of(subject.seen, one), subject.lists.item[place]
    shown = [rank for rank, item in enumerate(listed.tolist()) if item >= 0]
    recommendations = [
        {
            "rank": rank + 1,
            "item": str(items["item_id"].iloc[int(listed[rank])]),
            "title": str(items["title"].iloc[int(listed[rank])]),
            "score": float(subject.lists.score[place, rank]),
            "hit": bool(subject.hits[place, rank]),
            "shared": {
                kind.name: values for kind in subject.kinds if (values := _shared(kind, own, int(listed[rank])))
            },
        }
        for rank in shown
    ]
    ratios = {
        kind.name: ratio
        for kind in subject.kinds
        if not math.isnan(ratio := float(hit_ratios(kind, own, seen, listed[None].numpy())[0][0]))
    }
    return {
        "user": str(subject.data.prepared.users["user_id"].iloc[user]),
        "history": _newest(subject, user),
        "recommendations": recommendations,
        "hit_ratio": ratios,
    }


def _shared(kind: Kind, own: CSR, item: int) -> list[str]:
    """Values of an item that the user's own items have, those of most items first."""
    count = kind.all_of(own).toarray()[0]
    values = kind.of.col[kind.of.crow[item] : kind.of.crow[item + 1]].numpy()
    return [kind.values[value] for value in values[np.argsort(-count[values], kind="stable")] if count[value] > 0]


def _newest(subject: Subject, user: int) -> list[str]:
    """Titles of a user's newest visible items, newest first; in the order of items where no time is known."""
    rows = subject.data.prepared.interactions
    first, last = np.searchsorted(rows.user, [user, user + 1])
    visible = subject.own.col[subject.own.crow[user] : subject.own.crow[user + 1]].numpy()
    place = first + np.flatnonzero(np.isin(rows.item[first:last], visible))
    if rows.time is not None:
        place = place[np.argsort(-rows.time[place], kind="stable")]
    titles: pd.Series = subject.data.prepared.items["title"].iloc[rows.item[place[:NEWEST]]]
    return [str(title) for title in titles]
