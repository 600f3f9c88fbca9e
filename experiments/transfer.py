"""What one domain tells of users who are new in another: a chain, run with k of their rows there.

    python experiments/transfer.py --config experiments/cross_domain/synthetic.yaml --target book --seeds 3

A tenth of the users of both domains is held out for val, another for test: the last of their rows in the target is
tested, k of the rows before it are in train, k = 0, 1, 2, 5 and all of them, and the users and rows that are tested are
the same for every k. Every stage of the chain is run anew for each k, but those of one domain, who do not know users
without rows there. Runs lie in `runs/transfer/`, where what is finished is not done again. The table is of all k that
are there under the same options; it is printed and written beside them. With k = 0 every model knows of a user what the
other domains tell, and that alone: its lines are those of the source only. Options of `recsys chain` that are not
known here go to every run.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from commands import carry_out, parser_of

from recsys_lightning.atomic import write_text
from recsys_lightning.cli.chain import Runs
from recsys_lightning.cli.stages import Chain, Stage, read_chain
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.bootstrap import mean_interval
from recsys_lightning.reports.chain import common, difference
from recsys_lightning.reports.tables import markdown_table
from recsys_lightning.reports.tested import refuse_other_data
from recsys_lightning.schema import DOMAIN

SHOTS = ("0", "1", "2", "5", "all")
USER = "user_id"
METRICS = ("ndcg", "recall", "precision", "hit_rate", "map", "mrr")
Values = Mapping[str, Sequence[pd.DataFrame]]
"""By stage, the tested users of the target, a table for each seed."""


def transfer(given: argparse.Namespace, options: Sequence[str]) -> str:
    """Do the runs that are not there yet; the report of these and of all others there that differ in k alone.

    Raises:
        InputError: an option cannot be used.
    """
    _check(given)
    chain = read_chain(given.config)
    stages = _stages(chain, given.only or [])
    folder = given.folder / f"{chain.name}-{given.target}"
    found = {}
    for k in SHOTS:
        runs = Runs(chain, folder / f"shots_{k}", [*_recipe(given, k), *options])
        tests = _tests(runs, stages, given.seeds, do=k in given.k)
        refuse_other_data([test for of_stage in tests.values() for test in of_stage])
        found[k] = {name: [_values(test, given) for test in of_stage] for name, of_stage in tests.items()}
    text = _report(chain, given, found)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "transfer.md", text)
    return text


def _check(given: argparse.Namespace) -> None:
    if given.seeds < 1 or any(k not in SHOTS for k in given.k):
        raise InputError(f"--seeds must be at least 1, and each --k one of {', '.join(SHOTS)}.")
    most = max(int(k) for k in ("0", *given.k) if k != "all")
    if given.reserve < most:
        raise InputError(
            f"--reserve is {given.reserve}, and --k goes up to {most}: other users would be tested there than for "
            f"smaller k. Say --reserve {most} or more, the same for all k."
        )
    if not re.fullmatch(rf"({'|'.join(METRICS)})_[1-9]\d*", given.metric):
        raise InputError(
            f"--metric is {given.metric}; it is one of {', '.join(METRICS)} with a cut-off of the stages' k: ndcg_10."
        )


def _stages(chain: Chain, only: Sequence[str]) -> list[Stage]:
    """Those that are asked for, tested, and know users who are new in a domain."""
    found = [stage for stage in chain.chosen(only) if "test" in stage.run and stage.domain is None]
    if unfit := sorted(set(only) - {stage.name for stage in found}):
        raise InputError(
            f"--only names {', '.join(unfit)}, which is of one domain or not tested. Name a stage of all domains that "
            "is tested."
        )
    if not found:
        raise InputError(f"No stage of {chain.name} is tested on all domains, so none can carry users over.")
    return found


def _recipe(given: argparse.Namespace, k: str) -> list[str]:
    """Options of the split in which new users have k rows in the target."""
    recipe = {"split": "target_cold", "target": given.target, "val": given.share, "test": given.share, "shots": k}
    return [f"--data.recipe.{name}={value}" for name, value in {**recipe, "reserve": given.reserve}.items()]


def _tests(runs: Runs, stages: Sequence[Stage], seeds: int, do: bool) -> dict[str, list[Path]]:
    """Folders of tests by stage; without `do` of the stages alone that are done already, under all seeds."""
    found = {}
    for stage in stages:
        of_stage = range(1 if stage.once else seeds)
        done = [runs(stage, seed) if do else runs.done(stage, seed) for seed in of_stage]
        tests = [one.path("test") for one in done if one is not None]
        if len(tests) == len(of_stage):
            found[stage.name] = tests
    return found


def _values(test: Path, given: argparse.Namespace) -> pd.DataFrame:
    """What a test has in the target."""
    table = pd.read_parquet(test / "per_user.parquet")
    if given.metric not in table:
        known = [str(name) for name in table if str(name).rpartition("_")[0] in METRICS]
        raise InputError(f"{test} has no {given.metric} of users; it has {', '.join(known)}. Choose one with --metric.")
    return table[table[DOMAIN] == given.target]


def _report(chain: Chain, given: argparse.Namespace, found: Mapping[str, Values]) -> str:
    tested = {f"{k} {name}": tables for k, of_k in found.items() for name, tables in of_k.items()}
    users, rows = sorted(common(tested, given.target)), []
    for k, of_k in found.items():
        same = {name: [table.set_index(USER).loc[users] for table in tables] for name, tables in of_k.items()}
        for name, tables in same.items():
            own = mean_interval(np.stack([table[given.metric].to_numpy(np.float64) for table in tables]))
            beside = ""
            if name != chain.base and chain.base in same:
                pair = [[table.reset_index() for table in one] for one in (tables, same[chain.base])]
                beside = difference(*pair, given.target, given.metric).text
            rows.append((k, name, len(users), own.mean, f"{own.low:.4f} to {own.high:.4f}", beside))
    head = ("k", "stage", "users", given.metric, "95 % interval", f"minus {chain.base}")
    seeds = "one training each" if given.seeds == 1 else f"means over {given.seeds} trainings"
    about = (
        f"{given.metric} in {given.target} of users who have k rows there in train, {seeds}; intervals over users and "
        "seeds. All lines are of the same users, those that every one of these runs tested. Lines of k = 0 know of "
        "these users what other domains tell."
    )
    return "\n\n".join([f"# Transfer to {given.target}: {chain.name}", about, markdown_table(head, rows)]) + "\n"


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
