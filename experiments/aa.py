"""A/A comparisons: how often `recsys compare` would claim a difference where there is none, and miss one that is there.

The differences of two tested runs are centred, so that their mean is exactly 0, and users are drawn from them with
replacement: each draw is a comparison of two models that do not differ, on values as skewed as real ones. Then the
same with a known shift, beside the power that the noncentral t predicts for it.

  python experiments/aa.py --run runs/a/version_1 --base runs/b/version_1 --draws 1000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import paired_interval
from recsys_lightning.metrics.significance import chance
from recsys_lightning.reports.tables import markdown_table
from recsys_lightning.reports.tested import headline, read_all, refuse_metric

LEVEL = 0.05
POWERS = (0.5, 0.8, 0.95)
"""Shifts are those that have these powers for normal differences."""
RESAMPLES = 2000
"""Of each bootstrap; its 95 % limits are then known to 0.5 % of coverage."""

Values = NDArray[np.float64]


class Share(NamedTuple):
    """How many of the draws led to a claim, with a 95 % interval (Clopper and Pearson)."""

    claims: int
    draws: int

    @property
    def share(self) -> float:
        """Claims per draw."""
        return self.claims / self.draws

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share lies with infinitely many draws."""
        from scipy.special import betaincinv

        k, n = self.claims, self.draws
        low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))
        return low, 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))

    @property
    def words(self) -> str:
        """The share, and its interval in brackets."""
        low, high = self.interval
        return f"{self.share:.1%} ({low:.1%} to {high:.1%})"


class Claims(NamedTuple):
    """By what differences are claimed: the interval, the t test, and both together."""

    interval: Share
    t_test: Share
    both: Share


def null_differences(values: Values, base: Values | None, seed: int = 0) -> Values:
    """(U,) differences of mean 0.

    Args:
        values: (U,) of the users of a run.
        base: (U,) of another run on the same users; without it, values of the run's own users in a random order,
            which differ from it in nothing but whose they are.
        seed: of the order.
    """
    if base is None:
        base = values[np.random.default_rng(seed).permutation(len(values))]
    differences: Values = values - base
    return differences - differences.mean()


def claims(null: Values, shift: float, users: int, draws: int, seed: int = 0, resamples: int = RESAMPLES) -> Claims:
    """How often a difference is claimed.

    Args:
        null: (U,) differences of mean 0.
        shift: that is added to all of them.
        users: of each comparison.
        draws: comparisons.
        seed: of them.
        resamples: of each bootstrap.
    """
    rng = np.random.default_rng(seed)
    found = np.zeros(3, int)
    for draw in range(draws):
        drawn = rng.choice(null, users) + shift
        none = np.zeros(users)
        outside = paired_interval(drawn, none, draws=resamples, seed=draw).sign != 0
        unlikely = chance(drawn, none) <= LEVEL
        found += outside, unlikely, outside and unlikely
    return Claims(*(Share(int(count), draws) for count in found))


def power(effect: float, users: int) -> float:
    """Share of paired t tests of so many users that find an effect d_z of normal differences."""
    from scipy.special import nctdtr, stdtrit

    bound, centre = stdtrit(users - 1, 1 - LEVEL / 2), effect * np.sqrt(users)
    return float(1 - nctdtr(users - 1, centre, bound) + nctdtr(users - 1, centre, -bound))


def effect_of(wanted: float, users: int) -> float:
    """The effect d_z that is found with a power."""
    from scipy.optimize import brentq

    return float(brentq(lambda effect: power(effect, users) - wanted, 0.0, 6 / np.sqrt(users)))


def report(null: Values, users: int, draws: int, seed: int = 0) -> str:
    """Both tables in Markdown."""
    head = ("what is true", "d_z", "predicted", "t test", "interval", "both")
    spread, rows = float(null.std()), []
    for wanted in (0.0, *POWERS):
        effect = effect_of(wanted, users) if wanted else 0.0
        found = claims(null, effect * spread, users, draws, seed)
        shares = [share.words for share in (found.t_test, found.interval, found.both)]
        what = "a difference" if wanted else "no difference"
        rows.append((what, f"{effect:.4f}", f"{power(effect, users):.1%}", *shares))
    zeros = float((null == np.median(null)).mean())
    about = (
        f"{draws:,} comparisons of {users:,} users each, drawn from {len(null):,}. Of these {zeros:.0%} have the most "
        f"frequent difference; the skewness is {_skewness(null):.1f}. Shares are of comparisons that "
        "claim a difference, with 95 % intervals."
    )
    return f"{markdown_table(head, rows)}\n\n{about}"


def _skewness(values: Values) -> float:
    return float((values**3).mean() / values.std() ** 3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of a command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of `recsys test`")
    parser.add_argument("--base", help="another one, on the same users; without, other users of the same run")
    parser.add_argument("--metric", help="column of per_user.parquet [ndcg at the first cut-off]")
    parser.add_argument("--draws", type=int, default=1000, help="comparisons [1000]")
    parser.add_argument("--users", type=int, help="of each comparison [as many as there are]")
    parser.add_argument("--seed", type=int, default=0, help="of the draws [0]")
    given = parser.parse_args(arguments)
    try:
        if given.draws < 1 or (given.users is not None and given.users < 2):
            raise InputError("--draws is at least 1 and --users at least 2.")
        runs = read_all([given.run] if given.base is None else [given.run, given.base])
        metric = given.metric or headline(runs)[0]
        refuse_metric(runs, metric)
        everybody = np.ones(len(runs[0].tables[0]), bool)
        values = [run.values(metric, everybody).mean(0) for run in runs]
        null = null_differences(values[0], values[1] if len(values) > 1 else None, given.seed)
        if not np.isfinite(null).all() or not null.any():
            raise InputError(f"The users' {metric} do not differ, or some have none: choose another metric or run.")
    except InputError as error:
        print(f"aa: {error}", file=sys.stderr)
        return 2
    print(f"{metric}: {given.run} against {given.base or 'other users of the same run'}\n")
    print(report(null, given.users or len(null), given.draws, given.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
