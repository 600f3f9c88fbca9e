"""All checks of a split, made one after the other: as results, as Markdown, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from recsys_lightning.data.audit import columns, held_out, listed_twice, pairs, times
from recsys_lightning.data.audit.case import Case, Finding, Found, listed

Outcome = Literal["ok", "remark", "fault", "not made"]


class Check(NamedTuple):
    """One thing that is looked for.

    Attributes:
        name: for people and programs.
        find: looks for it; its docstring says what it looks for.
        of_held: whether it looks at held-out rows alone, and so at nothing where there are none.
    """

    name: str
    find: Callable[[Case], Found]
    of_held: bool = True

    def made(self, case: Case) -> Found:
        """What it finds in the case."""
        if self.of_held and not case.held.any():
            return "there are no held-out rows"
        return self.find(case)

    @property
    def looks_for(self) -> str:
        """In words."""
        return " ".join((self.find.__doc__ or "").split("\n\n")[0].split())


CHECKS = (
    Check("empty_parts", held_out.empty_parts, of_held=False),
    Check("duplicates", pairs.duplicates, of_held=False),
    Check("overlap", pairs.overlap),
    Check("books", pairs.books, of_held=False),
    Check("index_order", pairs.index_order, of_held=False),
    Check("later_history", times.later_history),
    Check("later_val", times.later_val),
    Check("later_elsewhere", times.later_elsewhere),
    Check("one_cut", times.one_cut),
    Check("tied_times", times.tied_times),
    Check("stopped_clock", times.stopped_clock, of_held=False),
    Check("future_items", times.future_items),
    Check("known_users", held_out.known_users),
    Check("more_shots", held_out.more_shots),
    Check("late_shots", times.late_shots),
    Check("outside_target", held_out.outside_target),
    Check("cold_users", held_out.cold_users),
    Check("cold_items", held_out.cold_items),
    Check("same_title", listed_twice.by_title, of_held=False),
    Check("same_audience", listed_twice.by_audience, of_held=False),
    Check("same_history", listed_twice.by_history, of_held=False),
    Check("twins_across_domains", listed_twice.across_domains, of_held=False),
    Check("counted_columns", columns.counted_columns),
    Check("named_users", columns.named_users),
    Check("later_columns", columns.later_columns, of_held=False),
)
"""All, in the order of reports."""


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Attributes:
        name: of the check.
        looks_for: what it looks for.
        findings: what it found.
        not_made: why there was nothing to check; empty where it was made.
    """

    name: str
    looks_for: str
    findings: tuple[Finding, ...]
    not_made: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst of it."""
        if self.not_made:
            return "not made"
        if any(finding.fault for finding in self.findings):
            return "fault"
        return "remark" if self.findings else "ok"


def audit(case: Case) -> list[Result]:
    """The result of every check."""
    results = []
    for check in CHECKS:
        found = check.made(case)
        skipped = found if isinstance(found, str) else ""
        findings = () if isinstance(found, str) else tuple(found)
        results.append(Result(check.name, check.looks_for, findings, skipped))
    return results


def faults(results: Sequence[Result]) -> int:
    """How many checks found a fault."""
    return sum(result.outcome == "fault" for result in results)


def in_words(case: Case, results: Sequence[Result]) -> str:
    """Steps of the preparation, all checks, what they found, as Markdown."""
    prepared = case.prepared
    lines = [
        f"# {prepared.name}: {prepared.split}",
        "",
        f"fingerprint {prepared.fingerprint[:16]}",
        "",
        "| step | rows | users | items | note |",
        "|---|---:|---:|---:|---|",
        *(f"| {s.name} | {s.rows:,} | {s.users:,} | {s.items:,} | {s.note} |" for s in prepared.steps),
        "",
        "| check | | looks for |",
        "|---|---|---|",
        *(f"| {r.name} | {f'not made: {r.not_made}' if r.not_made else r.outcome} | {r.looks_for} |" for r in results),
        "",
    ]
    for result in results:
        for finding in result.findings:
            word = "fault" if finding.fault else "remark"
            lines.append(f"* {word}, {result.name}: {finding.message}{listed(finding.examples)}")
    if any(result.findings for result in results):
        lines.append("")
    return "\n".join([*lines, _summary(results)])


def _summary(results: Sequence[Result]) -> str:
    number = {outcome: sum(r.outcome == outcome for r in results) for outcome in ("fault", "remark", "ok", "not made")}
    made = len(results) - number["not made"]
    found = ", ".join(f"{number[kind]} {kind}{'s' * (number[kind] != 1)}" for kind in ("fault", "remark"))
    verdict = "No faults." if not number["fault"] else "Figures of this split are wrong by what is called a fault."
    return f"{made} checks made: {found}, {number['ok']} ok. {verdict}"


def to_dict(case: Case, results: Sequence[Result]) -> dict[str, Any]:
    """The same as plain values."""
    prepared = case.prepared
    return {
        "data": prepared.name,
        "split": prepared.split,
        "fingerprint": prepared.fingerprint,
        "faults": faults(results),
        "steps": [asdict(entry) for entry in prepared.steps],
        "checks": [{**asdict(result), "outcome": result.outcome} for result in results],
    }
