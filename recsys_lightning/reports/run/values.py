"""Values of a JSON file that know where they stand, so that what is wrong with one can be said by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from recsys_lightning.errors import InputError


class Values:
    """A value of a file, or the absence of one: `null`, NaN, and keys that are not there are all absent.

    Args:
        value: as JSON gives it.
        file: it comes from.
        key: where it stands there, with dots and brackets.
    """

    def __init__(self, value: Any, file: Path, key: str = "") -> None:
        self.value = value
        self.file = file
        self.key = key

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return self.value not in (None, {}, [])

    def __getitem__(self, name: str) -> Values:
        """What an object has under a name."""
        if self.value is not None and not isinstance(self.value, dict):
            self._refuse("an object")
        inside = f"{self.key}.{name}" if self.key else name
        return Values((self.value or {}).get(name), self.file, inside)

    def __iter__(self) -> Iterator[Values]:
        """The entries of a list."""
        if self.value is not None and not isinstance(self.value, list):
            self._refuse("a list")
        for place, entry in enumerate(self.value or []):
            yield Values(entry, self.file, f"{self.key}[{place}]")

    def items(self) -> Iterator[tuple[str, Values]]:
        """Names and values of an object."""
        if self.value is not None and not isinstance(self.value, dict):
            self._refuse("an object")
        for name in self.value or {}:
            yield name, self[name]

    def number(self) -> float | None:
        """A number, None where there is none."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self._refuse("a number")
        try:
            number = float(self.value)
        except OverflowError:  # a whole number of hundreds of digits
            self._refuse("a number")
        return number if isfinite(number) else None

    def whole(self) -> int | None:
        """A whole number, None where there is none."""
        number = self.number()
        if number is not None and number != int(number):
            self._refuse("a whole number")
        return None if number is None else int(number)

    def text(self) -> str:
        """A text, an empty one where there is none; numbers as they are written."""
        if isinstance(self.value, bool | dict | list):
            self._refuse("a text")
        return "" if self.value is None else str(self.value)

    def flag(self) -> bool:
        """Yes or no; no where nothing is said."""
        if self.value is not None and not isinstance(self.value, bool):
            self._refuse("true or false")
        return bool(self.value)

    def texts(self) -> list[str]:
        """A list of texts."""
        return [entry.text() for entry in self]

    def needed(self) -> float:
        """A number that must be there."""
        number = self.number()
        if number is None:
            self._refuse("a number")
        return number

    def numbers(self) -> list[float]:
        """A list of numbers, without gaps."""
        return [entry.needed() for entry in self]

    def _refuse(self, wanted: str) -> NoReturn:
        shown = json.dumps(self.value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise InputError(
            f"{self.file} is damaged: {self.key or 'it'} is {shown}, and must be {wanted}. "
            "Mend it, or remove the file: the page is then made without it."
        )


def read_json(file: Path) -> Values:
    """What a file holds: an object; nothing where there is no such file.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        values = Values(json.loads(file.read_text(encoding="utf-8")), file)
    except FileNotFoundError:
        return Values(None, file)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file} is damaged: it is no JSON (line {error.lineno}, column {error.colno}: {error.msg}). "
            "Mend it, or remove the file: the page is then made without it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, numbers of thousands of digits, deep nesting
        raise InputError(f"{file} cannot be read: {error}.") from error
    list(values.items())
    return values
