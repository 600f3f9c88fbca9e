"""What a test knows besides its figures, as `facts.json`: with it the page can be made again without the data."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import isfinite, nan
from typing import Any

from recsys_lightning.data.audit.future import Future
from recsys_lightning.data.filters import Step
from recsys_lightning.reports.domains import Group
from recsys_lightning.reports.floors import Floor
from recsys_lightning.reports.ranking import RankingReport
from recsys_lightning.reports.run.values import Values

PREFIX = "test/"


def facts_of(report: RankingReport) -> dict[str, Any]:
    """What metrics.json does not hold of a report, as plain values."""
    floors = [asdict(floor) for floor in report.floors]
    for floor in floors:
        floor["test"] = {name: value if isfinite(value) else None for name, value in floor["test"].items()}
    return {
        "k": list(report.k),
        "held_out": report.held_out,
        "steps": [asdict(step) for step in report.steps],
        "floors": floors,
        "future": None if report.future is None else report.future._asdict(),
        **({"groups": [_bounded(group) for group in report.groups]} if report.groups else {}),
    }


def report_of(metrics: Values, facts: Values) -> RankingReport | None:
    """The report that metrics.json and facts.json tell of; None where no ranking was tested.

    Without facts.json, as tests of older versions left none, the report has no floors and no steps.

    Raises:
        InputError: a value is not what it must be.
    """
    results = {name: value.number() for name, value in metrics.items() if name.startswith(PREFIX)}
    cuts = [int(found[1]) for name in results if (found := re.fullmatch(r"test/ndcg_(\d+)", name))]
    k = [int(value) for value in facts["k"].numbers()] or cuts
    if not k or any(results.get(f"{PREFIX}{name}") is None for name in (f"ndcg_{k[0]}", f"recall_{k[0]}", "users")):
        return None
    future = facts["future"]
    return RankingReport(
        model=metrics["model"].text(),
        data=metrics["data"].text(),
        split=metrics["split"].text(),
        fingerprint=metrics["fingerprint"].text(),
        k=k,
        steps=[_step(step) for step in facts["steps"]],
        results={name: nan if value is None else value for name, value in results.items()},
        floors=[_floor(floor) for floor in facts["floors"]],
        seconds=metrics["seconds"].number() or 0.0,
        looked_at_test=metrics["looked_at_test"].flag(),
        visible=metrics["test_views"].text(),
        held_out=facts["held_out"].whole() or 0,
        future=Future(future["tests"].whole() or 0, future["history"].number() or 0.0, future["items"].number() or 0.0)
        if future
        else None,
        domains=_domains(metrics, results, k[0]),
        groups=[_group(group) for group in facts["groups"]],
    )


def _domains(metrics: Values, results: dict[str, float | None], k: int) -> list[str]:
    """The domains, where there are figures of each; a figure may be no number where nobody was tested."""
    names = metrics["domains"].texts()
    whole = all(f"test/ndcg_{k}_{name}" in results and results.get(f"test/users_{name}") is not None for name in names)
    return names if whole else []


def _bounded(group: Group) -> dict[str, Any]:
    """As JSON can say it."""
    values = group._asdict()
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in values.items()}


def _group(group: Values) -> Group:
    bounds = (group["mean"].number(), group["low"].number(), group["high"].number())
    mean, low, high = (nan if bound is None else bound for bound in bounds)
    return Group(group["domain"].text(), group["name"].text(), group["users"].whole() or 0, mean, low, high)


def _step(step: Values) -> Step:
    rows, users, items = (step[name].whole() or 0 for name in ("rows", "users", "items"))
    return Step(step["name"].text(), rows, users, items, step["note"].text())


def _floor(floor: Values) -> Floor:
    test = {name: value.number() for name, value in floor["test"].items()}
    if test:
        floor["test"]["users"].needed()
    return Floor(
        floor["name"].text(),
        options={name: option.value for name, option in floor["options"].items()},
        tuned=floor["tuned"].flag(),
        test={name: nan if value is None else value for name, value in test.items()},
        seconds=floor["seconds"].number() or 0.0,
        note=floor["note"].text(),
    )
