"""Exceptions that the command line says in a sentence, and libraries that a user has to install."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any


class InputError(Exception):
    """Something given from outside is wrong: a file, a row, an option, a checkpoint.

    The message is whole sentences that name what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with status 2. It is no ValueError, as parsers of options take those for their own.
    """


class NonFiniteError(ArithmeticError):
    """A model's numbers are NaN or infinite where that cannot be gone on from.

    The command line prints the message without a traceback and exits with status 1.
    """


class OtherProcessError(RuntimeError):
    """Another process of the same run failed, and this one could not go on without it.

    The command line prints the message without a traceback and exits with status 1.
    """


def linked(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def extra(library: str, purpose: str, name: str = "") -> Any:
    """A library that only some need.

    Args:
        library: to import.
        purpose: what needs it, as a user would say.
        name: of the extra that installs it; of its own where there is none.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    install = f"pip install recsys-lightning[{name}]" if name else f"pip install {library}"
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        lacking = library if error.name in (None, library) else f"{library}, and that needs {error.name}"
        raise InputError(f"{purpose} needs {lacking}: {install}.") from error
    except Exception as error:  # broken installations raise whatever they come to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{purpose} needs {library}, which is installed, but cannot be imported ({reason}). Install it anew: "
            f"{install}."
        ) from error
