"""`recsys recommend`: the best items for one user, by a trained model."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict

from recsys_lightning.errors import InputError

HELP = """\
recsys recommend: the best items for one user

  --config FILE      an experiment, or the config.yaml of a run
  --ckpt_path FILE   the checkpoint of that run; closed-form models need none
  --user ID          for whom; an id as the raw data write it
  --k N              how many items (10)
  --include_known    also items that the user has
  --json             as JSON instead of a table

Other options change the configuration, as in `recsys predict`. Nothing is written.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys recommend`; `words` starts with it."""
    if words[1:] in ([], ["-h"], ["--help"]):
        print(HELP, end="")
        return
    from recsys_lightning.cli.advice import ask, read_options
    from recsys_lightning.reports.tables import text_table

    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--k", default="10")
    parser.add_argument("--include_known", action="store_true")
    own, rest = read_options(parser, words[1:], "recommend")
    if not own.k.isdecimal() or int(own.k) < 1:
        raise InputError(f"--k is {own.k}; it must be a whole number of at least 1.")
    advisor = ask(rest, own.ckpt_path, "recommend").advisor
    found = advisor.recommend(own.user, int(own.k), not own.include_known)
    if own.json:
        print(json.dumps({"user": own.user, "recommendations": [asdict(line) for line in found]}, ensure_ascii=False))
    elif not found:
        print(f"There is nothing left to recommend: user {own.user} has every item.")
    else:
        rows = [(line.rank, line.score, line.item, line.title) for line in found]
        print(text_table(("rank", "score", advisor.catalogue.schema.item_type, "title"), rows))
