"""Tables of a test, as plain columns and rows: buckets, recommendations, reasons and floors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsys_lightning.batches import CSR
from recsys_lightning.callbacks.diagnosis.lists import samples
from recsys_lightning.callbacks.diagnosis.subject import Options, Subject
from recsys_lightning.callbacks.watching import drawn
from recsys_lightning.data.domain_loaders import DomainRankingLoader
from recsys_lightning.data.loaders import RankingLoader
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.explain.advisor import Advisor
from recsys_lightning.explain.catalogue import Catalogue
from recsys_lightning.explain.protocols import Additive
from recsys_lightning.reports.floors import Floor
from recsys_lightning.tasks.evaluation import RankingTask

USERS = 20
"""Users of the table of recommendations."""
EXPLAINED, REASONS = 3, 5
"""Users whose first recommendations are explained, as many for each; and reasons for each of these."""
HIT, GAP = "✓ ", " · "


class Table(NamedTuple):
    """Columns by name, and rows of plain values."""

    columns: list[str]
    rows: list[list[Any]]


def subjects(task: RankingTask, data: InteractionsDataModule) -> dict[str, Subject]:
    """What lists are made of, by the name of the domain: a few tested users, the same in every run on the same data.

    In a domain, items of others are among those that are not recommended. Where there is one, its name is empty.
    """
    loader, state = data.test_dataloader(), task.recommender.encode(task.views)
    parts = loader.parts if isinstance(loader, DomainRankingLoader) else [loader]
    options = Options(users=USERS, pairs=1, resamples=100, samples=USERS, neighbours=1, seed=0)
    found = {}
    for code, (name, part) in enumerate(zip(task.domains or ("",), parts, strict=True)):
        tested = part.user.cpu().numpy()
        if len(tested):
            user = torch.from_numpy(drawn(tested, USERS, options.seed)).to(part.user.device)
            seen = _hidden(part, user, task.views.members, code) if name else part.seen
            found[name] = Subject(task, data, state, seen, part.relevant, user, options)
    return found


def bucket_table(facts: Path) -> Table | None:
    """How good the model is for whom, under the names that the report has: see `reports.user_groups`.

    Args:
        facts: `facts.json`, as `WriteResults` left it; None is returned where it is not there.
    """
    if not facts.is_file():
        return None
    buckets: list[dict[str, Any]] = json.loads(facts.read_text(encoding="utf-8"))["buckets"]
    names = list(dict.fromkeys(name for bucket in buckets for name in bucket))
    return Table(names, [[bucket.get(name) for name in names] for bucket in buckets]) if buckets else None


def sample_table(found: Mapping[str, Subject]) -> Table:
    """A row for each sampled user: what the user had, what is recommended with the hits marked, what was held out."""
    rows = []
    for domain, subject in found.items():
        held_out = _held_out(subject, domain)
        for one in samples(subject):
            listed = one["recommendations"]
            shown = [f"{line['rank']}. {HIT if line['hit'] else ''}{line['title']}" for line in listed]
            hits = sum(line["hit"] for line in listed)
            lists = [GAP.join(titles) for titles in (one["history"], shown, held_out[one["user"]])]
            rows.append([domain, one["user"], lists[0], lists[1], hits, lists[2]])
    return Table(["domain", "user", "history", "recommended", "hits", "held out"], rows)


def _held_out(subject: Subject, domain: str) -> dict[str, list[str]]:
    """Titles that are looked for, by the raw id of the user."""
    prepared = subject.data.prepared
    raw, titles = prepared.users["user_id"].astype(str), prepared.items["title"].astype(str)
    place, item = subject.relevant.select(subject.user).cpu().numpy()
    if domain:
        assert prepared.domain is not None
        own = prepared.domain[item] == prepared.domains.index(domain)
        place, item = place[own], item[own]
    users = subject.user.tolist()
    return {str(raw.iloc[user]): titles.iloc[item[place == row]].tolist() for row, user in enumerate(users)}


def explanation_table(found: Mapping[str, Subject]) -> Table | None:
    """Why the first sampled users get their first items; None for models whose scores are no sums.

    Other explainers need many passes over the graph: they are for `recsys explain`.
    """
    first = next(iter(found.values()), None)
    if first is None or not isinstance(first.model, Additive) or first.model.reads_history:
        return None
    data, rows = first.data, first.data.prepared.interactions
    names = Catalogue(
        data.schema,
        rows.user_ids.to_pylist(),
        rows.item_ids.to_pylist(),
        data.prepared.items["title"].tolist(),
        {kind: attribute.values for kind, attribute in data.typed_graph.attributes.items()},
    )
    advisor, lines = Advisor(first.model, first.task.views, names, first.seen), []
    for place, user in enumerate(first.user[:EXPLAINED].tolist()):
        items = [names.items[item] for item in first.lists.item[place, :EXPLAINED].tolist() if item >= 0]
        for one in advisor.explain(names.users[user], items):
            about = [one.user, one.title, one.rank, one.score]
            lines += [[*about, effect.relation, effect.title, effect.value] for effect in one.effects[:REASONS]]
    return Table(["user", "recommended", "rank", "score", "relation", "reason", "value"], lines)


def floor_table(floors: Sequence[Floor]) -> Table | None:
    """Figures of the floors that are known of these data; None where none is."""
    known = [floor for floor in floors if floor.test]
    if not known:
        return None
    names = list(dict.fromkeys(name for floor in known for name in floor.test))
    rows = [[floor.name, *(floor.test.get(name) for name in names)] for floor in known]
    return Table(["floor", *names], rows)


def _hidden(part: RankingLoader, user: Tensor, members: Sequence[Tensor], code: int) -> CSR:
    """What is not recommended to chosen users in a domain: what they know, and all items of the other domains."""
    others = torch.cat([items for place, items in enumerate(members) if place != code]).to(part.seen.col.device)
    count = torch.zeros_like(part.seen.degree)
    columns = []
    for one in sorted(set(user.tolist())):  # ascending, as rows of a CSR are
        own = part.seen.col[part.seen.crow[one] : part.seen.crow[one + 1]]
        columns.append(torch.cat([own, others]).unique())  # type: ignore[no-untyped-call]
        count[one] = len(columns[-1])
    return CSR(torch.cat([count.new_zeros(1), count.cumsum(0)]), torch.cat(columns))
