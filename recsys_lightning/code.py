"""Which code made a result: what is kept must not stand beside what newer code makes."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent


@functools.cache
def code_digest(*parts: str) -> str:
    """Sha256 of the Python files of parts of this package, as they were when it was first asked for.

    Args:
        parts: folders or files below the package, such as `models` or `batches.py`; all of it where none are named.
    """
    places = [PACKAGE / part for part in parts] or [PACKAGE]
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(PACKAGE)}:{file.stat().st_size};".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
