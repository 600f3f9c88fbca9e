"""`recsys recommend`: the best items for one user, by a trained model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from recsys_lightning.cli.own_options import OwnOptions, whole_number

HELP = """\
recsys recommend: the best items for one user

  --config FILE      an experiment, or the config.yaml of a run
  --ckpt_path FILE   the checkpoint of that run; closed-form models need none
  --user ID          for whom; an id as the raw data write it
  --k N              how many items (10)
  --domain NAME      of which domain, where the data have several; of each without
  --include_known    also items that the user has
  --json             as JSON instead of a table

Other options change the configuration, as in `recsys predict`. Nothing is written.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys recommend`; `words` starts with it."""
    from recsys_lightning.cli.advice import ask, read_options
    from recsys_lightning.reports.tables import text_table

    parser = OwnOptions("--domain")
    parser.add_argument("--k", default="10")
    parser.add_argument("--include_known", action="store_true")
    own, rest = read_options(parser, words[1:], "recommend")
    k = whole_number("k", own.k, 1)
    advisor = ask(rest, own.ckpt_path, "recommend").advisor
    domains: Sequence[str | None] = [own.domain] if own.domain else advisor.catalogue.schema.domains or [None]
    found = {name: advisor.recommend(own.user, k, not own.include_known, name) for name in domains}
    if own.json:
        lists = {name: [asdict(line) for line in lines] for name, lines in found.items()}
        print(json.dumps({"user": own.user, "recommendations": lists.get(None, lists)}, ensure_ascii=False))
        return
    for place, (name, lines) in enumerate(found.items()):
        if name is not None:
            print(name if not place else f"\n{name}")
        if not lines:
            print(f"There is nothing left to recommend: user {own.user} has every item{f' of {name}' if name else ''}.")
            continue
        rows = [(line.rank, line.score, line.item, line.title) for line in lines]
        print(text_table(("rank", "score", name or advisor.catalogue.schema.item_type, "title"), rows))
