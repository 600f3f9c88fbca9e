"""What a ranking test found in each of several domains, and for users who are known in one or in several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.metrics.bootstrap import Interval, mean_interval
from recsys_lightning.metrics.domains import WORST, macro_values
from recsys_lightning.reports.tables import number

ALL = "all"
KINDS = ("here and elsewhere", "here only", "elsewhere only")
"""Where the visible rows of users lie, seen from the domain that they are tested in."""
MEAN = "mean"
"""The row of a table of domains that holds the macro mean."""


class Group(NamedTuple):
    """Users tested in a domain, by where their visible rows lie: the mean of the headline figure, with its interval.

    The domain is empty for the mean over the domains.
    """

    domain: str
    name: str
    users: int
    mean: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The 95 % interval in words; a dash where fewer than two users tell nothing of others."""
        bounded = isfinite(self.low) and isfinite(self.high)
        return f"{number(self.low)} to {number(self.high)}" if bounded else number(None)


def groups_of(
    values: NDArray[np.float64],
    user: NDArray[np.int64],
    domain: NDArray[np.int64],
    rows: NDArray[np.int64],
    names: Sequence[str],
) -> list[Group]:
    """All users, those of each domain, and of these the groups that there are.

    Args:
        values: (N,) of users in domains.
        user: (N,)
        domain: (N,)
        rows: (U, M) visible rows of each user in each domain.
        names: of the domains.
    """
    known = np.isfinite(values)
    values, user, domain = values[known], user[known], domain[known]
    found = [_group("", ALL, mean_interval(macro_values(values, user, domain)), len(np.unique(user)))]
    for code, name in enumerate(names):
        inside = domain == code
        own, here = values[inside], rows[user[inside], code] > 0
        elsewhere = rows[user[inside]].sum(1) > rows[user[inside], code]
        found.append(_group(name, ALL, mean_interval(own), len(own)))
        for kind, chosen in zip(KINDS, (here & elsewhere, here & ~elsewhere, ~here & elsewhere), strict=True):
            if chosen.any():
                found.append(_group(name, kind, mean_interval(own[chosen]), int(chosen.sum())))
    return found


def _group(domain: str, name: str, found: Interval, users: int) -> Group:
    return Group(domain, name, users, *found)


def of_domain(results: Mapping[str, float], domains: Sequence[str], name: str = "") -> dict[str, float]:
    """The figures of a domain, of the worst one, or without a name of all together, by the names that one domain has.

    Args:
        results: figures as `DomainMetrics` names them, without a prefix.
        domains: names of all; without any, the figures are those of the one domain that there is.
        name: of a domain, or `worst`.
    """
    if not domains:
        return dict(results)
    plain = [key for key in results if f"{key}_{domains[0]}" in results]
    if not name:
        return {key: results[key] for key in plain}
    return {key: results[f"{key}_{name}"] for key in plain if f"{key}_{name}" in results}


def figure_table(
    results: Mapping[str, float], domains: Sequence[str], groups: Sequence[Group], listed: Sequence[str], k: int
) -> tuple[list[str], list[list[object]]]:
    """Head and rows of a table with a row for each domain, for their mean and for the worst.

    Args:
        results: figures as `DomainMetrics` names them.
        domains: names.
        groups: of users, whose intervals are shown.
        listed: metrics.
        k: cut-off.
    """
    everybody = {group.domain: group for group in groups if group.name == ALL}
    rows: list[list[object]] = []
    for name in (*domains, "", WORST):
        own = of_domain(results, domains, name)
        group = everybody.get(name)
        users = group.users if group else int(own["users"]) if name in domains else None
        values = [own.get(f"{metric}_{k}") for metric in listed]
        rows.append([name or MEAN, users, *values, group.interval if group else ""])
    return ["domain", "users", *(f"{metric}@{k}" for metric in listed), f"ndcg@{k}, 95 % interval"], rows


def group_table(groups: Sequence[Group], k: int) -> tuple[list[str], list[list[object]]]:
    """Head and rows of a table of users by where their rows lie."""
    rows: list[list[object]] = [
        [group.domain, group.name, group.users, group.mean, group.interval] for group in groups if group.name != ALL
    ]
    return ["domain", "visible rows", "users", f"ndcg@{k}", "95 % interval"], rows
