"""What one domain tells of users who are new in another: a chain, run with k of their rows there.

    python experiments/transfer.py --config experiments/cross_domain/synthetic.yaml --target book --seeds 3

A tenth of the users of both domains is held out for val, another for test: the last of their rows in the target is
tested, k of the rows before it are in train, k = 0, 1, 2, 5 and all of them, and the users and rows that are tested are
the same for every k. Every stage of the chain is run anew for each k, but those of one domain, who do not know users
without rows there. Runs lie in `runs/transfer/`, where what is finished is not done again. The table is printed and
written beside them. With k = 0 every model knows of a user what the other domains tell, and that alone: its lines are
those of the source only. Options of `recsys chain` that are not known here go to every run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from commands import carry_out, parser_of

from recsys_lightning.cli.chain import Runs
from recsys_lightning.cli.stages import Chain, read_chain
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import Interval, mean_interval, paired_interval
from recsys_lightning.reports.tables import markdown_table

SHOTS = ("0", "1", "2", "5", "all")
USER = "user_id"
Values = Mapping[str, np.ndarray]
"""(seeds, users) by stage; the users in the same order everywhere."""


def transfer(given: argparse.Namespace, options: Sequence[str]) -> str:
    """Do the runs that are not there yet; the report.

    Raises:
        InputError: an option cannot be used.
    """
    if given.seeds < 1 or any(k not in SHOTS for k in given.k):
        raise InputError(f"--seeds must be at least 1, and each --k one of {', '.join(SHOTS)}.")
    chain = read_chain(given.config)
    folder = given.folder / f"{chain.name}-{given.target}"
    found = {k: _values(chain, given, k, options, folder / f"shots_{k}") for k in given.k}
    text = _report(chain, given, found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transfer.md").write_text(text, encoding="utf-8")
    return text


def _values(chain: Chain, given: argparse.Namespace, k: str, options: Sequence[str], folder: Path) -> Values:
    """What each stage has in the target, with k rows of its new users in train."""
    recipe = {"split": "target_cold", "target": given.target, "val": given.share, "test": given.share, "shots": k}
    words = [f"--data.recipe.{name}={value}" for name, value in {**recipe, "reserve": given.reserve}.items()]
    runs, found = Runs(chain, folder, [*words, *options]), {}
    for stage in chain.stages.values():
        if "test" not in stage.run or stage.domain is not None or (given.only and stage.name not in given.only):
            continue
        seeds = 1 if stage.once else given.seeds
        tables = [pd.read_parquet(runs(stage, seed).path("test") / "per_user.parquet") for seed in range(seeds)]
        own = [table[table["domain"] == given.target].sort_values(USER) for table in tables]
        found[stage.name] = np.stack([table[given.metric].to_numpy(np.float64) for table in own])
    return found


def _report(chain: Chain, given: argparse.Namespace, found: Mapping[str, Values]) -> str:
    rows = []
    for k, stages in found.items():
        base = stages.get(chain.base)
        for name, values in stages.items():
            difference = "" if base is None or name == chain.base else _of(_beside(values, base))
            own = mean_interval(values)
            rows.append((k, name, values.shape[1], own.mean, f"{own.low:.4f} to {own.high:.4f}", difference))
    head = ("k", "stage", "users", given.metric, "95 % interval", f"minus {chain.base}")
    seeds = "one training each" if given.seeds == 1 else f"means over {given.seeds} trainings"
    about = (
        f"{given.metric} in {given.target} of users who have k rows there in train, {seeds}; intervals over users and "
        "seeds, differences on the same users. Lines of k = 0 know of these users what other domains tell."
    )
    return "\n\n".join([f"# Transfer to {given.target}: {chain.name}", about, markdown_table(head, rows)]) + "\n"


def _beside(values: np.ndarray, base: np.ndarray) -> Interval:
    """The difference; what is trained once stands for all seeds."""
    seeds = max(len(values), len(base))
    first, second = (np.broadcast_to(one, (seeds, one.shape[1])) for one in (values, base))
    return paired_interval(first, second)


def _of(found: Interval) -> str:
    return f"{found.mean:+.4f}, {found.low:+.4f} to {found.high:+.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    parser = parser_of(str(__doc__), "a chain, on data of several domains", "trainings of each stage")
    parser.set_defaults(folder=Path("runs/transfer"))
    parser.add_argument("--target", required=True, help="the domain in which users are new")
    parser.add_argument("--k", nargs="+", default=list(SHOTS), help="rows of each new user there [0 1 2 5 all]")
    parser.add_argument("--reserve", type=int, default=5, help="rows that each has there at least, but the last [5]")
    parser.add_argument("--share", type=float, default=0.1, help="of the users, for val and for test [.1]")
    parser.add_argument("--metric", default="ndcg_10", help="that is compared [ndcg_10]")
    parser.add_argument("--only", nargs="+", help="these stages, and those they take vectors from; all without")
    return carry_out("transfer", parser, transfer, arguments)


if __name__ == "__main__":
    sys.exit(main())
