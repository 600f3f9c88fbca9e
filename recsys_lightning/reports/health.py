"""What `recsys doctor` finds, in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, NamedTuple

State = Literal["ok", "note", "problem"]
_WIDTH = 120


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        group: versions, devices, memory, places or accounts.
        name: of the thing.
        state: a problem stops a run or makes its figures wrong; a note is worth knowing.
        text: what was found; of a problem, also what to do.
    """

    group: str
    name: str
    state: State
    text: str


def in_words(findings: Sequence[Finding]) -> str:
    """A line for each finding, by group, and how many problems there are."""
    width = max(len(found.name) for found in findings)
    lines: list[str] = []
    for group in dict.fromkeys(found.group for found in findings):
        lines += ["", group] if lines else [group]
        for _, name, state, text in (found for found in findings if found.group == group):
            head = f"  {state:<7}  {name:<{width}}  "
            lines += textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    problems, notes = (sum(found.state == state for found in findings) for state in ("problem", "note"))
    lines += ["", f"{problems} problem{'s' * (problems != 1)}, {notes} note{'s' * (notes != 1)}"]
    return "\n".join(lines)
