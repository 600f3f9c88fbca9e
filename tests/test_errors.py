from __future__ import annotations

from recsys_lightning.errors import InputError, NonFiniteError


def test_parsers_do_not_take_them_for_their_own() -> None:
    """jsonargparse turns a ValueError or TypeError of a class that it makes into a complaint about its option."""
    assert not issubclass(InputError, ValueError | TypeError)
    assert issubclass(NonFiniteError, ArithmeticError)
