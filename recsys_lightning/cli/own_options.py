"""Options of a verb itself, beside those of a configuration."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser, Namespace

from recsys_lightning.errors import InputError


class OwnOptions(ArgumentParser):
    """Reads the options that it knows, and leaves all others.

    Args:
        names: options that take a value; None where they are not given.
    """

    def __init__(self, *names: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False, exit_on_error=False)
        for name in names:
            self.add_argument(name)

    def read(self, words: list[str]) -> tuple[Namespace, list[str]]:
        """Own options by name, and the words that are none.

        Raises:
            InputError: an option lacks its value.
        """
        try:
            return self.parse_known_args(words)
        except ArgumentError as error:
            raise InputError(f"{error.argument_name} is given without a value, or with one too many.") from error


def whole_number(name: str, text: str, least: int, most: int | None = None) -> int:
    """The whole number that an option was given.

    Raises:
        InputError: it is none, or out of its range.
    """
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"--{name} is {text}; it must be a whole number {span}.")
    return int(text)
