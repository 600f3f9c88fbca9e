"""`recsys floors`: tune and test the closed forms on the split of an experiment."""

from __future__ import annotations

from recsys_lightning.cli.trainer import make_cli
from recsys_lightning.errors import InputError
from recsys_lightning.reports.floors import compute_floors
from recsys_lightning.reports.ranking import floor_table

HELP = """\
recsys floors: what a model has to beat; tuned on val, tested on test, kept by the data's fingerprint

  --config FILE      an experiment; its data and cut-offs are used
  --data NAME        or the data set by name, with its options
  --only NAME,...    of Popularity, ItemKNN, EASE, GFCF; all without

Computed floors stand beside the model in every later test of the same split.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys floors`; `words` starts with it."""
    options = words[1:]
    names: list[str] = []
    if "--only" in options:
        at = options.index("--only")
        if at + 1 == len(options):
            raise InputError("--only takes names of floors, with commas between.")
        names = options[at + 1].split(",")
        options = options[:at] + options[at + 2 :]
    cli = make_cli(["--model", "Ranking", "--model.recommender", "Popularity", *options], run=False)
    cli.datamodule.trainer = cli.trainer
    cli.datamodule.setup("test")
    floors = compute_floors(cli.datamodule, cli.model.k, cli.trainer.strategy.root_device, names)
    print()
    print(floor_table(floors, cli.datamodule.schema, cli.model.k[0]))
