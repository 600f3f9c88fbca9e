"""Files that are seen whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp-"
"""In the names of files that are being written, before the number of the process that writes them."""


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """A path to write to, whose file takes the place of another one in the end. After an error, nothing is left of it.

    Args:
        path: of the file; its folder must be there.
        durable: whether the file must also survive that the machine fails right after.
    """
    # in the same folder: a move between file systems is a copy, which can be seen half done
    temporary = path.with_name(f".{path.name}{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # its folder may be what failed
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8.

    Returns:
        The path.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
