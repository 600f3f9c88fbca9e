"""Numbers and lists as shops and exports write them, in plain Python: a server reads them alike."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import accumulate

NOTHING = frozenset({"", "-", "--", "\u2013", "\u2014", "none", "null", "nan", "na", "n/a", "unknown"})
"""Words, in lower case, that say that nothing is known."""

_DEEPEST = 20
"""Lists within one another: what is deeper is no list of names."""

_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_BESIDE_STRINGS = re.compile(r"(?:[\[\]{}(),:\s\d.]|None)*")
"""What may stand between the strings of a list as Python writes it: no operators, which could exhaust its parser."""

_CURRENCY = r"(?:US\$|[$€£¥₹]|USD|EUR|GBP)"
_DIGITS = r"[-+]?(?:\d[\d.,'\u00a0\u202f]*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_NUMBER = re.compile(
    rf"(?:from )?{_CURRENCY}? ?(?P<number>{_DIGITS}) ?{_CURRENCY}?(?: ?(?:-|\u2013|to) ?{_CURRENCY}? ?{_DIGITS})?",
    re.IGNORECASE | re.ASCII,
)
"""With single spaces: runs of them could be shared out in too many ways."""
_SPACES = re.compile(r"\s+", re.ASCII)
_LONGEST = 400
"""Characters of a number: no float is written with more."""
_COMMAS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_POINTS = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d{1,3}(?:\.\d{3}){2,}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d{1,2}")


def loose_number(cell: object) -> float | None:
    """A finite number; None where a cell is empty or says in a word that nothing is known.

    Read are numbers, and texts of them with a currency, `from` before them, thousands set apart by commas, points,
    apostrophes or narrow spaces, and a decimal comma before one or two digits; of a range, its lower end. So `1,234` is
    1234, `12,99` is 12.99 and `1.234` is 1.234.

    Raises:
        ValueError: the cell holds something else.
    """
    if cell is None:
        return None
    if isinstance(cell, str):
        text = cell.strip()
        return None if text.lower() in NOTHING else _parsed(text)
    if isinstance(cell, bool) or not hasattr(cell, "__float__"):
        raise ValueError(cell)
    try:
        value = float(cell)
    except (OverflowError, TypeError) as error:
        raise ValueError(cell) from error
    if math.isnan(value):
        return None
    return _finite(value)


def loose_list(cell: object, separator: str) -> list[str]:
    """Strings: trimmed, without empty ones, each once and in the order written.

    Read are lists, texts with a separator between values, and lists, or objects with a `name`, as JSON or as Python
    writes them, also within one another. Words that say that nothing is known count as empty.

    Args:
        cell: such as `["a", "b"]`, `['a', 'b']`, `{"name": "a"}`, `a, b`, a list, or None.
        separator: between the values of a text that is none of these; spaces around it do not count.

    Raises:
        ValueError: the cell begins as a list or an object and is none, or it holds neither names nor whole numbers.
    """
    if isinstance(cell, str):
        text = cell.strip()
        found = _written(text) if text[:1] in ("[", "{") else text.split(separator.strip() or " ")
    else:
        found = cell
    words = (re.sub(r"\s+", " ", word.encode("utf-8", "replace").decode()).strip() for word in _names(found))
    return list(dict.fromkeys(word for word in words if word.lower() not in NOTHING))


def _parsed(text: str) -> float:
    text = _SPACES.sub(" ", text)
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(text)
    digits = re.sub(r"['\u00a0\u202f]", "", match["number"])
    if _COMMAS.fullmatch(digits):
        digits = digits.replace(",", "")
    elif _POINTS.fullmatch(digits) or _DECIMAL_COMMA.fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    return _finite(float(digits))  # a comma that is left makes this a ValueError, too


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _written(text: str) -> object:
    """A list or an object as JSON, or as Python writes it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError:
        pass
    rest = _STRING.sub("", text)
    depth = accumulate((sign in "[{(") - (sign in "]})") for sign in rest)
    if not _BESIDE_STRINGS.fullmatch(rest) or max(depth, default=0) > _DEEPEST:
        raise ValueError("neither JSON nor Python")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # backslashes in texts
            return ast.literal_eval(text)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("neither JSON nor Python") from error


def _names(entry: object, depth: int = 0) -> Iterator[str]:
    """The strings in an entry, of objects their names."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, Mapping) and "name" in entry and depth < _DEEPEST:
        yield from _names(entry["name"], depth + 1)
    elif isinstance(entry, int) and not isinstance(entry, bool):
        yield str(entry)
    elif hasattr(entry, "tolist") and not isinstance(entry, float):  # an array of a Parquet file
        yield from _names(entry.tolist(), depth)
    elif isinstance(entry, list | tuple | set) and depth < _DEEPEST:
        for part in entry:
            yield from _names(part, depth + 1)
    elif entry is not None and entry == entry:  # NaN stands for nothing
        raise ValueError(entry)
