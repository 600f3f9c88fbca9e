"""The one exception for what a user can mend."""


class InputError(Exception):
    """Something given from outside is wrong: a file, a row, an option, a checkpoint.

    The message is whole sentences that name what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with status 2. It is no ValueError, as parsers of options take those for their own.
    """


class NonFiniteError(ArithmeticError):
    """A model's numbers are NaN or infinite where that cannot be gone on from.

    The command line prints the message without a traceback and exits with status 1.
    """
