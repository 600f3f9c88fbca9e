"""The page of a chain: what its stages found, domain by domain, beside one of them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recsys_lightning.atomic import write_text
from recsys_lightning.metrics.bootstrap import mean_interval, paired_interval
from recsys_lightning.reports.run.blocks import Block, Cell, Page, Panel, Points, Remark, Section, Table, Text
from recsys_lightning.reports.run.html import page_html
from recsys_lightning.reports.run.markdown import page_markdown
from recsys_lightning.reports.tables import text_table

USER, DOMAIN = "user_id", "domain"
METRICS = ("ndcg", "recall")
ABOUT = """\
Full ranking of each domain's items by themselves, per user, then the mean over the users with held-out items there;
`macro` is the mean over the domains. A stage that is given one domain may know fewer users, those with train rows
there, who are easier. {shared}
Differences are of the users that both tested, with 95 % intervals bootstrapped over users and seeds."""
SHARED = """\
Means are over the users of a domain that all of these stages tested: the head of its column says how many, and
`tested` how many each stage did. With other stages they may be other users, and other means."""
SENTENCES = ("swap.json", "checks.json")
"""Files of a test whose `sentences` the page repeats."""

Values = Mapping[str, Sequence[pd.DataFrame]]
"""By stage, a table of users and domains for each seed."""


def write_chain_pages(
    folder: Path, name: str, base: str, tested: Values, runs: Mapping[str, Path], seeds: int
) -> list[str]:
    """Write `report.md` and `report.html` into a folder.

    Args:
        folder: to write to.
        name: of the chain.
        base: the stage that others are compared with.
        tested: what was measured; one table stands for all seeds where there is nothing random.
        runs: the folder of each stage's first test.
        seeds: trainings of each stage.

    Returns:
        What to print: the table of the first metric, and where the pages lie.
    """
    page = chain_page(name, base, tested, runs, seeds)
    pages = {"report.md": page_markdown(page), "report.html": page_html(page)}
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages.items():
        write_text(folder / file, text)
    head, rows = figures(tested, cut_off(tested, METRICS[0]))
    said = ["", *textwrap.wrap(" ".join(SHARED.split()), 100), ""]
    return ["", text_table(head, rows, head[1:-1]), *said, *(str(folder / file) for file in pages)]


def chain_page(name: str, base: str, tested: Values, runs: Mapping[str, Path], seeds: int) -> Page:
    """The page; see `write_chain_pages`."""
    trained = "One training of each stage" if seeds == 1 else f"Means over {seeds} trainings of each stage"
    panels, compared = [], []
    for metric in METRICS:
        column = cut_off(tested, metric)
        head, rows = figures(tested, column)
        panels.append(Panel(column.replace("_", "@"), [Table(head, rows, head[1:-1])], wide=True))
        head, rows = differences(tested, base, column)
        if rows:
            compared.append(Panel(f"{column.replace('_', '@')} minus that of {base}", [Table(head, rows)], wide=True))
    sections = [Section("By domain", panels, ABOUT.format(shared=SHARED))]
    sections += [Section(f"Beside {base}", compared)] if compared else []
    found = [Panel(stage, said) for stage, run in runs.items() if (said := _said(run))]
    sections += [Section("What was checked", found, "Of the first training of each stage.")] if found else []
    places = [f"{stage}: `{run}`" for stage, run in runs.items()]
    sections.append(Section("Runs", [Panel("", [Points(places)], wide=True)], "Each has a report of its own."))
    alone = "" if seeds > 1 else ": the intervals know nothing of other trainings"
    return Page(f"Chain {name}", [Text(f"{trained}{alone}.")], sections)


def cut_off(tested: Values, metric: str) -> str:
    """The column of a metric at the first cut-off."""
    table = next(iter(tested.values()))[0]
    cuts = [int(cut) for column in table if (cut := str(column).removeprefix(f"{metric}_")).isdigit()]
    return f"{metric}_{min(cuts)}"


def figures(tested: Values, column: str) -> tuple[list[str], list[list[object]]]:
    """Head and rows of the table of a metric: a row for each stage, a column for each domain.

    Means are over the users of a domain that all stages tested which tested any there; the head says how many.
    """
    domains = _domains(tested)
    users = {domain: common(tested, domain) for domain in domains}
    rows: list[list[object]] = []
    for stage, tables in tested.items():
        means = {domain: _mean(tables, domain, column, users[domain]) for domain in domains}
        known = [value for value in means.values() if value is not None]
        macro = float(np.mean(known)) if len(known) == len(domains) else None
        counts = [f"{len(_of(tables[0], domain)):,}" for domain in domains if means[domain] is not None]
        rows.append([stage, *means.values(), macro, " + ".join(counts)])
    heads = [f"{domain}, {len(users[domain]):,} user{'s' * (len(users[domain]) != 1)}" for domain in domains]
    return ["stage", *heads, "macro", "tested"], rows


def common(tested: Values, domain: str) -> set[str]:
    """Users of a domain that all stages tested which tested any there, under every seed."""
    found = [set(_of(table, domain)[USER]) for tables in tested.values() for table in tables]
    return set.intersection(*(users for users in found if users))


def differences(tested: Values, base: str, column: str) -> tuple[list[str], list[list[object]]]:
    """Head and rows of the table of differences, stage - base on the same users."""
    domains = _domains(tested)
    rows: list[list[object]] = []
    for stage, tables in tested.items():
        if stage != base:
            rows.append([stage, *(difference(tables, tested[base], domain, column) for domain in domains)])
    return ["stage", *domains], rows


def _domains(tested: Values) -> list[str]:
    """Names of the domains, in the order of the stages' tables; one without a name where there are none."""
    names = dict.fromkeys(
        str(name) for tables in tested.values() for name in (tables[0][DOMAIN].unique() if DOMAIN in tables[0] else [])
    )
    return list(names) or ["all"]


def _mean(tables: Sequence[pd.DataFrame], domain: str, column: str, users: set[str]) -> float | None:
    """Mean over these users and seeds; None of a domain that was not tested."""
    chosen = [_of(table, domain) for table in tables]
    values = [table.loc[table[USER].isin(users), column].mean() for table in chosen]
    return None if not len(chosen[0]) else float(np.mean(values))


def difference(ours: Sequence[pd.DataFrame], base: Sequence[pd.DataFrame], domain: str, column: str) -> Cell:
    """The difference in a domain over the users that both tested, and how many these are where not all.

    Args:
        ours: a table for each seed; one stands for all.
        base: what is subtracted, likewise.
        domain: whose users.
        column: of the metric.
    """
    tables = [_of(table, domain).set_index(USER)[column] for table in (*ours, *base)]
    users = sorted(set.intersection(*(set(table.index) for table in tables)))
    if not users:
        return Cell("", "")
    values = [table.loc[users].to_numpy(np.float64) for table in tables]
    first, second = np.stack(values[: len(ours)]), np.stack(values[len(ours) :])
    if len(first) == len(second) or 1 in (len(first), len(second)):
        shape = np.broadcast_shapes(first.shape, second.shape)
        found = paired_interval(np.broadcast_to(first, shape), np.broadcast_to(second, shape))
    else:
        found = mean_interval(first.mean(0) - second.mean(0))
    most = max(len(table) for table in tables)
    of = "" if len(users) == most else f"over {len(users):,} of {most:,} users"
    return Cell(f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]", of)


def _of(table: pd.DataFrame, domain: str) -> pd.DataFrame:
    return table[table[DOMAIN] == domain] if DOMAIN in table else table


def _said(run: Path) -> list[Block]:
    """The sentences that the checks of a test left."""
    found: list[Block] = []
    for file in SENTENCES:
        try:
            values = json.loads((run / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found += [Remark(sentence["text"], sentence["against"]) for sentence in values.get("sentences", [])]
    return found
