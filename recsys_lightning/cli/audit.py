"""`recsys audit`: what is wrong with the data of an experiment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.datamodules.interactions import InteractionsDataModule

HELP = """\
recsys audit: leaks, duplicates, twins, what is new in test: every check that was made, and what it found

  --config FILE      an experiment; its data are looked at
  --data NAME        or the data set by name, or a YAML of data, with its options
  --json             the same for programs

A fault is what makes figures wrong, or leaves none: a test row in train, a train row later than it where the split
promises otherwise, things listed twice, if a thousandth of the held-out rows is told by their twins, a test that came
out empty. A remark is for the reader to weigh: users who are new, items that came later, a split that keeps no order in
time. The exit status is 1 with faults, 0 without.
"""

FAULTS = 1
"""Exit status where there are any."""


def run(words: list[str]) -> None:
    """Carry out `recsys audit`; `words` starts with it."""
    options = [word for word in words[1:] if word != "--json"]
    if not options or not options[0].startswith("-"):
        named = f", as in recsys audit --data {options[0]}" if options else ""
        raise InputError(f"Say which data: --config FILE of an experiment, or --data NAME with its options{named}.")
    from recsys_lightning.cli.trainer import make_cli
    from recsys_lightning.data.audit.case import Case
    from recsys_lightning.data.audit.report import audit, faults, in_words, to_dict

    cli = make_cli(["--model", "Ranking", "--model.recommender", "Popularity", *options], run=False)
    data: InteractionsDataModule = cli.datamodule
    case = Case(data.prepared, data.recipe, used_columns(data))
    results = audit(case)
    print(json.dumps(to_dict(case, results), indent=2) if "--json" in words else in_words(case, results))
    if faults(results):
        raise SystemExit(FAULTS)


def used_columns(data: InteractionsDataModule) -> tuple[str, ...]:
    """Item columns that become features, context, texts or nodes."""
    nodes, prepared = data.graph.attributes, data.prepared
    kinds = set(prepared.attributes.values()) - set(prepared.on_request) if nodes is None else set(nodes)
    names = [name for name, kind in prepared.attributes.items() if kind in kinds]
    names += [*data.graph.features, *data.graph.context]
    if data.features is not None:
        names += data.features.columns
    if data.text is not None:
        names += [*(data.text.columns or []), *([data.text.reviews] if data.text.reviews else [])]
    return tuple(dict.fromkeys(names))
