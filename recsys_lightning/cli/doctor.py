"""`recsys doctor`: what is installed and what is here, and what of it is known not to work."""

from __future__ import annotations

import json
from pathlib import Path

from recsys_lightning.errors import InputError
from recsys_lightning.reports.health import Finding, in_words

HELP = """\
recsys doctor: versions, devices, memory, places, and what is known not to work

  --runs FOLDER   the folder of runs, where it is not runs/
  --json          as JSON: a list of group, name, state and text

Each line is ok, a note, or a problem with what to do about it. The exit status is 1 where there is a problem. Nothing
is written but a file that is gone at once, to see whether a folder can be written to.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys doctor`; `words` starts with it.

    Raises:
        SystemExit: with 1, there is a problem.
    """
    options = words[1:]
    from recsys_lightning.cli.own_options import OwnOptions

    parser = OwnOptions("--runs")
    parser.add_argument("--json", action="store_true")
    own, rest = parser.read(options)
    if rest:
        raise InputError(f"There is no option {rest[0]}: recsys doctor [--runs FOLDER] [--json].")
    findings = examine(Path(own.runs or "runs"))
    print(json.dumps([found._asdict() for found in findings], indent=1) if own.json else in_words(findings))
    if any(found.state == "problem" for found in findings):
        raise SystemExit(1)


def examine(runs: Path) -> list[Finding]:
    """All that is looked at."""
    from recsys_lightning.cli.machine import Build, check_machine
    from recsys_lightning.cli.versions import Environment, check_versions

    return [*check_versions(Environment.here()), *check_machine(Build.installed(), runs)]
