"""`recsys report`: all that a run measured, as a page."""

from __future__ import annotations

from pathlib import Path

from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError

HELP = """\
recsys report RUN: all that a run measured, as report.md and report.html

  RUN            the folder of `recsys test`; or of `recsys fit`, then the newest test of it is shown
  --to FOLDER    where to write; the folder of the run without

The page shows what the run's folders hold: figures beside the floors, curves, what diagnostics.json and shots.json
have, how the data were made, the configuration. The data themselves are not needed. report.html is one file, without
scripts and without anything from elsewhere.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys report`; `words` starts with it."""
    own, folders = OwnOptions("--to").read(words[1:])
    unknown = [word for word in folders if word.startswith("-")]
    if unknown:
        raise InputError(f"There is no option {unknown[0]}: recsys report RUN [--to FOLDER].")
    if len(folders) != 1:
        raise InputError(f"`recsys report` takes the folder of one run, and was given {len(folders)}.")
    from recsys_lightning.reports.run.page import write_pages

    for file in write_pages(Path(folders[0]), None if own.to is None else Path(own.to)):
        print(file)
