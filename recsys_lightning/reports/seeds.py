"""One experiment under several seeds: what its trainings have in common, and by how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from recsys_lightning.metrics.bootstrap import Interval, mean_interval
from recsys_lightning.reports.tables import DASH, markdown_table, number
from recsys_lightning.reports.tested import Tested, headline

METRICS = ("ndcg", "recall", "precision", "map", "mrr", "hit_rate")
SEVERAL = """\
Means and deviations (sd, with n - 1) are over the trainings. Nothing is chosen among these: what the experiment gives
is the mean, not the best of them. Intervals of 95 % are bootstraps over users and seeds."""
ALONE = """\
One training: how much others would differ is not known. Intervals of 95 % are bootstraps over users alone."""
TWO = """\
Two seeds say little of others: sd and intervals rest on one difference of trainings. Train three or more with --n."""
SOLVED = """\
It is solved, not trained: nothing in it is random, every seed gives these figures, and sd is 0. It was run once.
Intervals of 95 % are bootstraps over users."""


def seeds_report(run: Tested, seeds: Sequence[int]) -> str:
    """The experiment in Markdown: a line for each metric, and one for each seed.

    Args:
        run: tests of all seeds, or the one of what needs no seed.
        seeds: of these tests.

    Raises:
        InputError: the tests have no cut-off in common.
    """
    cut = headline([run])[0].rpartition("_")[2]
    everybody = np.ones(len(run.tables[0]), bool)
    values = {f"{name}_{cut}": run.values(f"{name}_{cut}", everybody) for name in METRICS}
    rows = []
    for metric, table in values.items():
        means, found = table.mean(1), mean_interval(table)
        sd = float(means.std(ddof=1)) if len(means) > 1 else None if run.trained else 0.0
        rows.append([metric, found.mean, sd, f"{means.min():.4f} to {means.max():.4f}", _interval(found)])
    number_of = f"under {len(seeds)} seeds" if len(seeds) > 1 else "under one seed" if run.trained else "without seeds"
    about = ALONE if run.trained else SOLVED
    remarks = [*run.remarks, *([TWO] if len(seeds) == 2 else [])]
    parts = [
        f"# {run.name} {number_of}",
        *(f"**{remark}**" for remark in remarks),
        markdown_table(("metric", "mean", "sd", "min to max", "95 % interval"), rows),
        markdown_table(
            ("seed", *values, "folder"),
            [
                [seed, *(float(table[place].mean()) for table in values.values()), str(folder)]
                for place, (seed, folder) in enumerate(zip(seeds, run.folders, strict=True))
            ],
        ),
        " ".join((SEVERAL if len(seeds) > 1 else about).split()),
        f"{number(values[f'ndcg_{cut}'].shape[1])} users. Fingerprint `{run.fingerprint}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _interval(found: Interval) -> str:
    bounded = isfinite(found.low) and isfinite(found.high)
    return f"{found.share.low:.4f} to {found.share.high:.4f}" if bounded else DASH
