"""How good a model is for whom: tested users by their history, and by what of theirs is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys_lightning.data.prepared import Prepared
from recsys_lightning.metrics.bootstrap import mean_interval
from recsys_lightning.metrics.buckets import bins
from recsys_lightning.metrics.domains import macro_values
from recsys_lightning.reports.tested import NOT_LATER
from recsys_lightning.schema import TEST, TRAIN

ACTIVITY, POPULARITY, RECENCY, GENRE, DOMAIN = (
    "user activity",
    "mean popularity of held-out items",
    "days between a user's rows and the held-out ones",
    "genre of a held-out item",
    "domain of held-out items",
)
"""Kinds of groups: by visible rows; train rows of items; time; a user is in the group of each genre held out, and of
each domain."""
BINS, GENRES, DRAWS = 4, 8, 1000
"""Groups of a kind, without that of zeros; most frequent genres that are shown; draws of each interval."""
DAY = 86_400


class Scored(NamedTuple):
    """Users who were tested, each in each domain.

    Attributes:
        user: (N,)
        domain: (N,), None where there is one.
        rows: (N,) visible rows of each.
        recall: (N,) at the cut-off.
        ndcg: (N,) likewise.
        k: the cut-off.
    """

    user: NDArray[np.int64]
    domain: NDArray[np.int64] | None
    rows: NDArray[np.int64]
    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    k: int


class Traits(NamedTuple):
    """What users who were tested are told apart by, beside their rows.

    Attributes:
        held_out: (N, I) 0/1 sparse, what is looked for.
        popularity: (N,) train rows of the held-out items in the mean, rounded; 0 where nothing is held out.
        days: (N,) whole days from the newest visible row to the first held-out one, -1 where that is earlier or no
            row is visible; None where there is no clock, or this holds for all.
    """

    held_out: Any
    popularity: NDArray[np.int64]
    days: NDArray[np.int64] | None


def traits_of(tested: Scored, prepared: Prepared, visible: tuple[str, ...]) -> Traits:
    """What the data tell of tested users.

    Args:
        tested: the users.
        prepared: data that they were tested on.
        visible: splits of the rows that the model saw of them.
    """
    held_out = _held_out(tested, prepared)
    popularity = np.bincount(prepared.csr(TRAIN).col.numpy(), minlength=prepared.num_items)
    mean = np.rint(held_out @ popularity / np.maximum(held_out.sum(1), 1)).astype(np.int64)
    return Traits(held_out, mean, _days(tested, prepared, visible))


def user_groups(tested: Scored, traits: Traits, prepared: Prepared) -> list[dict[str, Any]]:
    """Means over the users of each group, as facts.json holds them; intervals are those of recall."""
    held_out, popularity, days = traits
    number = held_out.sum(1)
    groups = [*_binned(ACTIVITY, tested.rows, np.ones(len(tested.user), bool))]
    groups += _binned(POPULARITY, popularity, number > 0)
    if days is not None:
        groups += _binned(RECENCY, days, days >= 0)
    if (genre := prepared.item_attributes.get("genre")) is not None:
        pairs = (np.ones(len(genre.item)), (genre.item, genre.value))
        has = (held_out @ csr_array(pairs, shape=(prepared.num_items, len(genre.values)))).tocsc() > 0
        users = has.sum(0)
        for value in np.argsort(-users, kind="stable")[:GENRES]:
            groups.append((GENRE, genre.values[value], has[:, [value]].toarray()[:, 0]))
    if tested.domain is not None:
        groups += [(DOMAIN, name, tested.domain == code) for code, name in enumerate(prepared.domains)]
    return [_figures(tested, number, *group) for group in groups if group[2].any()]


def left_out(tested: Scored, traits: Traits) -> list[dict[str, Any]]:
    """Kinds whose groups do not hold all users, with a sentence on whom they leave out, as facts.json holds them."""
    missing = 0 if traits.days is None else int((traits.days < 0).sum())
    counted = "" if tested.domain is None else ", each counted in each domain,"
    text = f"{missing:,} of {len(tested.user):,} users{counted} are in no group: {NOT_LATER}."
    return [{"of": RECENCY, "text": text}] if missing else []


def _held_out(tested: Scored, prepared: Prepared) -> Any:
    """(N, I) 0/1 sparse: what is looked for."""
    relevant = prepared.csr(TEST)
    shape = (prepared.num_users, prepared.num_items)
    ones = np.ones(len(relevant.col))
    found = csr_array((ones, relevant.col.numpy(), relevant.crow.numpy()), shape=shape)[tested.user].tocoo()
    row, item = found.coords
    if tested.domain is not None:
        assert prepared.domain is not None
        inside = prepared.domain[item] == tested.domain[row]
        row, item = row[inside], item[inside]
    return csr_array((np.ones(len(row)), (row, item)), shape=found.shape)


def _days(tested: Scored, prepared: Prepared, visible: tuple[str, ...]) -> NDArray[np.int64] | None:
    """As `Traits` has them."""
    rows = prepared.interactions
    if rows.timestamp is None:
        return None
    largest = np.iinfo(np.int64).max
    newest = np.full(prepared.num_users, -largest)
    seen = prepared.mask(*visible)
    np.maximum.at(newest, rows.user[seen], rows.timestamp[seen])
    test = prepared.positives(TEST)
    parts = max(1, len(prepared.domains))
    domain = 0 if prepared.domain is None else prepared.domain[rows.item[test]]
    first = np.full(prepared.num_users * parts, largest)
    np.minimum.at(first, rows.user[test].astype(np.int64) * parts + domain, rows.timestamp[test])
    of = tested.user * parts + (0 if tested.domain is None else tested.domain)
    known = (newest[tested.user] > -largest) & (first[of] < largest)
    since = np.where(known, first[of], 0) - np.where(known, newest[tested.user], 1)
    days = np.where(since >= 0, since // DAY, -1)
    return days if (days >= 0).any() else None


def _binned(kind: str, values: NDArray[np.int64], known: NDArray[np.bool_]) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and users of each bin; those of whom nothing is known are in none."""
    if not known.any():
        return
    by = bins(values[known], BINS)
    for place, name in enumerate(by.names):
        users = known.copy()
        users[known] = by.code == place
        yield kind, name, users


def _figures(
    tested: Scored, number: NDArray[np.float64], kind: str, name: str, users: NDArray[np.bool_]
) -> dict[str, Any]:
    recall, ndcg = tested.recall[users], tested.ndcg[users]
    if tested.domain is not None:
        of = tested.user[users], tested.domain[users]
        recall, ndcg = macro_values(recall, *of), macro_values(ndcg, *of)
    found = mean_interval(recall, draws=DRAWS).share
    bounded = len(recall) > 1
    return {
        "of": kind,
        "name": name,
        "users": len(recall),
        "relevant": int(number[users].sum()),
        f"recall_{tested.k}": found.mean,
        f"ndcg_{tested.k}": float(ndcg.mean()),
        "low": found.low if bounded else None,
        "high": found.high if bounded else None,
    }
