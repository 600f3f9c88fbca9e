"""Every shipped experiment through the command line, and one table of what holds for each.

    python experiments/shipped.py                            # all: one to two minutes of CPU time each
    python experiments/shipped.py 'ml-100k/*' sweeps/mf      # some, by name; the table shows all that are done

| column | says |
| --- | --- |
| runs | fit and test end well, and the figures of test are finite |
| resumes | stopped after its first epoch and gone on with, weights and optimizers end as those of one that was not |
| 1 = 2 processes | two processes train, and all figures of test of the same weights are those of one to 1e-6 |
| logs offline | the offline run of Weights & Biases, read back, holds all figures of the test |
| exports | `recsys export` writes what can be served, or says why not |
| reports | `recsys report` makes pages that name the model |

A sweep: two trials; the same after a stop; the command that it hands to W&B; the best trial exported and reported. A
chain: all its stages, a begun one goes on and a finished one does nothing; its pages name the stages.

Runs are short, and data sets that are large are cut down; other options, such as `--data.recipe.limit_users=500`, go
to every run. All is on the CPU, where resumed means bit-equal. `--to` keeps a row for each experiment and what its
commands said. Green rows are not done again as long as YAML and options are the same; with `--again` they are where the
code has changed. CPU seconds are without those of second processes. The exit status is 1 where something is red.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from claims import CHAINS, COLUMNS, SWEEPS, Chained, Single, Swept
from commands import carry_out
from trying import HERE, Cell, Recsys

from recsys_lightning.callbacks.results import write_json
from recsys_lightning.cli.stages import read_chain
from recsys_lightning.code import code_digest
from recsys_lightning.data.root import data_root
from recsys_lightning.errors import InputError
from recsys_lightning.reports.tables import DASH, markdown_table

LIGHTER = {
    "gowalla": ("--data.recipe.limit_users=3000", "--data.recipe.limit_items=4000"),
    "amazon-movie-book": ("--data.recipe.limit_users=2000", "--data.recipe.limit_items=6000"),
    "amazon-movie-book-dense": ("--data.recipe.limit_users=2000", "--data.recipe.limit_items=6000"),
    "amazon-books-2023": ("--data.recipe.limit_users=4000", "--data.recipe.limit_items=6000"),
}
"""Options of data sets whose closed forms would take many minutes."""
ORDERED = "--data.variant=1m-ordered"
"""ml-1m with the order of ratings in place of their times, for who has no other."""
Filled = dict[str, dict[str, Any]]
"""By experiment: cells, and what they came from."""


def shipped() -> dict[str, Path]:
    """All of them by `folder/name`, chains last, as they take longest."""
    files = sorted(path for path in HERE.glob("*/*.yaml") if path.name != "data.yaml")
    files.sort(key=lambda path: path.parent.name == CHAINS)
    return {f"{path.parent.name}/{path.stem}": path for path in files}


def options_of(config: Path) -> tuple[str, ...]:
    """What makes the data of an experiment small, or fits them to what is here."""
    folder = config.parent.name
    if folder == CHAINS:
        chain = read_chain(config)
        folder = chain.stages[chain.base].config.resolve().parent.name
    here = data_root() / folder
    if (here / "ratings_ordered.csv.gz").is_file() and not (here / "ratings.dat").is_file():
        return (ORDERED,)
    return LIGHTER.get(folder, ())


def fill(given: argparse.Namespace, options: Sequence[str]) -> Filled:
    """Do the rows that are asked for and not there yet; all that are there, by name.

    Raises:
        InputError: a name or an option is none.
    """
    if bad := [word for word in options if not re.match(r"--(trainer|data|model)\.[^=]+=", word)]:
        raise InputError(f"{bad[0]} is given to every run as one word: --data.OPTION=VALUE, of trainer, data or model.")
    names = shipped()
    for name in given.names:
        if not any(fnmatch(one, name) for one in names):
            raise InputError(f"There is no experiment {name}; names are such as {next(iter(names))} and 'ml-100k/*'.")
    to = given.to.resolve()
    to.mkdir(parents=True, exist_ok=True)
    files = {name: to / f"{name.replace('/', '--')}.json" for name in names}
    rows = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    for name, config in names.items():
        if given.names and not any(fnmatch(name, one) for one in given.names):
            continue
        own = [*options_of(config), *options]
        order = {"options": own, "files": _digest(config)}
        if name not in rows or rows[name]["order"] != order or not _done(rows[name], given.again):
            rows[name] = {"order": order, **_settled(config, own, to, files[name].with_suffix(".txt"))}
            write_json(files[name], rows[name])
            rows = {one: rows[one] for one in names if one in rows}
            (to / "shipped.md").write_text(table(rows) + "\n", encoding="utf-8")
            print(f"{name}: {_summary(rows[name])}", file=sys.stderr, flush=True)
    return rows


def _settled(config: Path, options: Sequence[str], to: Path, log: Path) -> dict[str, Any]:
    """A row and its code: a red one again where the code was changed meanwhile, as its runs may be of two codes."""
    while True:
        code = _code()
        row = {"code": code, **_row(config, options, to, log)}
        if code == _code() or _done(row, again=False):
            return row


def _code() -> str:
    """Digest of the code as it is now, not as it was when this process began."""
    return str(code_digest.__wrapped__())


def _row(config: Path, options: Sequence[str], to: Path, log: Path) -> dict[str, Any]:
    """Try everything; runs are removed, what commands said stays."""
    log.unlink(missing_ok=True)
    kind = {CHAINS: Chained, SWEEPS: Swept}.get(config.parent.name, Single)
    before = _cpu()
    with tempfile.TemporaryDirectory(dir=to, prefix=".runs-") as folder:
        cells = kind(Recsys(Path(folder), log), config, options, to / "chains").cells()
    return {"cells": cells, "seconds": round(_cpu() - before)}


def _summary(row: Mapping[str, Any]) -> str:
    """A row, as soon as it is there."""
    cells = {COLUMNS[name]: Cell(*cell) for name, cell in row["cells"].items()}
    red = [f"{name}: {cell.why}" for name, cell in cells.items() if cell.holds is False]
    return f"{row['seconds']} s, {'; '.join(red) or 'green'}"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _done(row: Mapping[str, Any], again: bool) -> bool:
    """Whether a row needs not be done again."""
    cells = [Cell(*cell) for cell in row["cells"].values()]
    green = cells[0].holds is not None and all(cell.holds is not False for cell in cells)
    return green and not (again and row["code"] != _code())


def _digest(config: Path) -> str:
    """Of a YAML and those that it names."""
    files, left = set[Path](), [config]
    while left:
        file = left.pop()
        files.add(file)
        named = re.findall(r"[\w./-]+\.yaml", file.read_text(encoding="utf-8"))
        found = {(place / name).resolve() for name in named for place in (file.parent, HERE.parent)}
        left += [one for one in found - files if one.is_file()]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def table(rows: Filled) -> str:
    """All rows in Markdown, with the reasons of what is not green, and what they were made with."""
    reasons: dict[str, int] = {}

    def shown(cell: Cell) -> str:
        mark = {True: "yes", False: "**no**", None: DASH}[cell.holds]
        return f"{mark} ({reasons.setdefault(cell.why, len(reasons) + 1)})" if cell.why else mark

    cells = {name: [Cell(*cell) for cell in row["cells"].values()] for name, row in rows.items()}
    lines = [[name, *map(shown, cells[name]), row["seconds"]] for name, row in rows.items()]
    red = sum(any(cell.holds is False for cell in line) for line in cells.values())
    missing = sum(line[0].holds is None for line in cells.values())
    left = len(shipped()) - len(rows)
    parts = [
        f"{len(rows) - red - missing} green, {red} red, {missing} without their data, {left} not done yet.",
        markdown_table(("experiment", *COLUMNS.values(), "CPU s"), lines),
        "\n".join(f"({place}) {reason}" for reason, place in reasons.items()),
    ]
    made: dict[str, list[str]] = {}
    for name, row in rows.items():
        made.setdefault(" ".join(row["order"]["options"]), []).append(name)
    parts += [f"With `{options}`: {', '.join(names)}." for options, names in made.items() if options]
    now = _code()
    if older := [name for name, row in rows.items() if row["code"] != now]:
        parts.append(f"Of other code than lies here now (`--again` does them again): {', '.join(older)}.")
    return "\n\n".join(filter(None, parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as ml-100k/mf, 'movietweetings*/*' or sweeps/mf [all]")
    parser.add_argument("--to", type=Path, default=Path("runs/shipped"), help="folder of the table [runs/shipped]")
    parser.add_argument("--again", action="store_true", help="also what other code made")
    red: list[str] = []

    def work(given: argparse.Namespace, options: Sequence[str]) -> str:
        rows = fill(given, options)
        red.extend(name for name, row in rows.items() if any(holds is False for holds, _ in row["cells"].values()))
        return table(rows)

    return carry_out("shipped", parser, work, arguments) or int(bool(red))


if __name__ == "__main__":
    sys.exit(main())
