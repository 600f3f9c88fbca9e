"""Numbers of a title, in plain Python."""

from __future__ import annotations

import re

_YEAR = re.compile(r"(?<!\s)\s*\(\d{4}\)\s*$")  # a run of spaces is tried from its start only
_WORD = re.compile(r"\w+(?:['\u2019.-]\w+)*")


def statistics(title: str) -> dict[str, float]:
    """Numbers of a title by their names; a year in parentheses at its end counts as no part of it.

    Words are runs of letters and digits, also with an apostrophe, a point or a hyphen within.
    """
    text = _YEAR.sub("", title.strip())
    lengths = [len(word) for word in _WORD.findall(text)]
    return {
        "title_words": float(len(lengths)),
        "title_characters": float(len(text)),
        "title_mean_word": sum(lengths) / max(1, len(lengths)),
        "title_longest_word": float(max(lengths, default=0)),
        "title_has_digits": float(any(map(str.isdigit, text))),
        "title_has_colon": float(":" in text),
        "title_has_parentheses": float("(" in text),
    }


def title_of(title: object, item_id: object) -> str:
    """A title; empty where it is none, or is the id, which stands for a missing title."""
    return title.strip() if isinstance(title, str) and title != item_id else ""
