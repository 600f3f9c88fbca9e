"""`recsys explain`: why a model recommends an item to a user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from recsys_lightning.datamodules.interactions import InteractionsDataModule
    from recsys_lightning.explain.advisor import Advisor
    from recsys_lightning.explain.explanation import Explanation, Influence, Share
    from recsys_lightning.reports.explanation import HistoryItem

HELP = """\
recsys explain: why a model recommends what it recommends

  --config FILE      an experiment, or the config.yaml of a run
  --ckpt_path FILE   the checkpoint of that run; closed-form models need none
  --user ID          for whom; an id as the raw data write it
  --item ID          of what; the user's ten best items without
  --domain NAME      of which domain these are, where the data have several
  --explainer NAME   what to find the reasons with:
                       exact                 the parts that the score is the sum of, where the model has such parts
                       contrast              those parts, less what the items ranked 11 to 20 get
                       occlusion             how far the score falls when one edge is really taken away; any model
                                             that reads no histories
                       integrated_gradients  what each edge adds while all of them gain weight from 0 to 1
                       contrast_integrated_gradients
                                             the same, less what the items ranked 11 to 20 get
                       gnn                   PyG's GNNExplainer: the fewest edges that keep the score;
                                             minutes for ten items: use --item
                     without: exact where the model allows it, else occlusion
  --fidelity         measure: rank and score without the five strongest reasons, and without five random ones of
                     the edges in question: the user's own, and for occlusion, both integrated_gradients and gnn those
                     to the item's attributes, where the model reads them
  --json             as JSON instead of words
  --page FILE        also write a page with the user's history and the paths to the items, as .html or .md

Other options change the configuration, as in `recsys predict`.
"""

MOST = 5
"""Reasons of a kind that are shown for an item; JSON has all."""


def run(words: list[str]) -> None:
    """Carry out `recsys explain`; `words` starts with it."""
    from recsys_lightning.cli.advice import ask, read_options
    from recsys_lightning.explain.advisor import EXPLAINERS

    parser = OwnOptions("--item", "--domain", "--explainer", "--page")
    parser.add_argument("--fidelity", action="store_true")
    own, rest = read_options(parser, words[1:], "explain")
    if own.explainer is not None and own.explainer not in EXPLAINERS:
        raise InputError(f"There is no explainer {own.explainer}; there are {', '.join(EXPLAINERS)}.")
    page = None if own.page is None else Path(own.page)
    if page is not None:
        from recsys_lightning.reports.explanation import check_page, paths, write_page

        check_page(page)
    advisor, data = ask(rest, own.ckpt_path, "explain")
    best = advisor.recommend(own.user, domain=own.domain) if own.item is None else []
    items = [line.item for line in best] if own.item is None else [own.item]
    explanations = advisor.explain(own.user, items, own.explainer, own.fidelity)
    if own.json:
        print(
            json.dumps({"user": own.user, "explanations": [one.to_dict() for one in explanations]}, ensure_ascii=False)
        )
    else:
        print(in_words(explanations, own.fidelity) if explanations else f"User {own.user} has every item.")
    if page is not None:
        ways = paths(explanations, data.typed_graph.attributes, advisor.catalogue.items)
        write_page(page, own.user, history(advisor, data, own.user), explanations, ways)
        if not own.json:
            print(page)


def in_words(explanations: list[Explanation], fidelity: bool) -> str:
    """All explanations, for a terminal."""
    first = explanations[0]
    blocks = ["\n".join(_block(one, fidelity)) for one in explanations]
    return "\n\n".join([*blocks, f"{first.explainer}: {first.meaning}"])


def history(advisor: Advisor, data: InteractionsDataModule, user: str) -> list[HistoryItem]:
    """What the user has in the rows that the model sees, newest first."""
    import pandas as pd

    from recsys_lightning.explain.edges import own_edges
    from recsys_lightning.reports.explanation import HistoryItem

    index, rows, names = advisor.catalogue.user(user), data.prepared.interactions, advisor.catalogue
    visible = set(advisor.views.train.col[own_edges(advisor.views, index)].tolist())
    own = [row for row in (rows.user == index).nonzero()[0].tolist() if rows.item[row] in visible]
    if (time := rows.time) is not None:
        own.sort(key=lambda row: -int(time[row]))
    return [
        HistoryItem(
            item=names.items[rows.item[row]],
            title=names.titles[rows.item[row]],
            rating=None if rows.rating is None else float(rows.rating[row]),
            when=None if rows.timestamp is None else f"{pd.Timestamp(int(rows.timestamp[row]), unit='s'):%Y-%m-%d}",
        )
        for row in own
    ]


def _block(one: Explanation, fidelity: bool) -> list[str]:
    """One explanation, line by line."""
    place = "the user has it" if one.rank is None else f"rank {one.rank}"
    terms = " ".join(f"{value:+.4f} {name}" for name, value in one.terms.items()) if len(one.terms) > 1 else ""
    lines = [f"{one.title} [{one.item}]: {place}, score {one.score:.4f}{terms and f' = {terms}'}"]
    shown = [effect for effect in one.effects if effect.value > 0][:MOST]
    named = [effect.title if effect.relation == "rates" else f"{effect.relation} {effect.title}" for effect in shown]
    lines += [f"  {effect.value:+.4f}  {name}" for effect, name in zip(shown, named, strict=True)]
    if others := len(one.effects) - len(shown):
        total = sum(effect.value for effect in one.effects) - sum(effect.value for effect in shown)
        lines.append(
            f"  {total:+.4f}  {others} other{'s' * (others > 1)}" if one.rest is not None else f"  {others} more"
        )
    if one.rest:
        lines.append(f"  {one.rest:+.4f}  the rest")
    lines += [_influence(kind, influence) for kind, influence in one.influences.items()]
    if one.attention:
        most = ", ".join(f"{listened.title} {listened.weight:.0%}" for listened in one.attention[:3])
        lines.append(f"  attention: {most}")
    if fidelity:
        lines.append(f"  {_fidelity(one)}")
    return lines


def _influence(kind: str, influence: Influence) -> str:
    known, new = (_listed(shares) for shares in (influence.common, influence.other))
    return (
        f"  {kind} {influence.total:+.4f}, weight {influence.weight:.2f}"
        f"{known and f'; of the user: {known}'}{new and f'; new to the user: {new}'}"
    )


def _listed(shares: tuple[Share, ...]) -> str:
    """The first of them, and how many more there are."""
    named = [f"{share.name} {share.contribution:+.4f}" for share in shares[:MOST]]
    return ", ".join([*named, *([f"{len(shares) - MOST} more"] if len(shares) > MOST else [])])


def _fidelity(one: Explanation) -> str:
    from recsys_lightning.reports.explanation_words import OWNED, in_question

    found = one.fidelity
    if one.rank is None:
        return OWNED
    if found is None:
        return "nothing to measure: nothing of these speaks for it"
    line = f"without the first {found.removed} of these: rank {found.rank}, score {found.score:.4f}"
    of = in_question(one)
    if found.random_score is None or found.random_rank is None:
        return f"{line}; these were all of {of}, so as many random ones would be the same"
    random = f"rank {found.random_rank:g}, score {found.random_score:.4f}"
    return f"{line}; without {found.removed} random ones of {of}: {random}"
