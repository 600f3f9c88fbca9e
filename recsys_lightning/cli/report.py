"""`recsys report`: all that a run measured, as a page."""

from __future__ import annotations

from pathlib import Path

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
    options = words[1:]
    if options in ([], ["-h"], ["--help"]):
        print(HELP, end="")
        return
    to = None
    if "--to" in options:
        at = options.index("--to")
        if at + 1 == len(options):
            raise InputError("--to takes a folder: recsys report RUN --to FOLDER.")
        to = Path(options[at + 1])
        options = options[:at] + options[at + 2 :]
    unknown = [option for option in options if option.startswith("-")]
    if unknown:
        raise InputError(f"There is no option {unknown[0]}: recsys report RUN [--to FOLDER].")
    if len(options) != 1:
        raise InputError(f"`recsys report` takes the folder of one run, and was given {len(options)}.")
    from recsys_lightning.reports.run.page import write_pages

    for file in write_pages(Path(options[0]), to):
        print(file)
