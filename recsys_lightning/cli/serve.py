"""`recsys serve`: an exported model over HTTP."""

from __future__ import annotations

import os
from argparse import ArgumentError, ArgumentParser
from pathlib import Path

from recsys_lightning.errors import InputError

HELP = """\
recsys serve: answer over HTTP from the folder that `recsys export` wrote

  recsys serve FOLDER

  --host ADDRESS     where to listen (127.0.0.1: this machine only)
  --port N           (8000); 0 for any that is free
  --index NAME       exact, or faiss: approximate, for large catalogues (exact)
  --threads N        requests that are worked on at a time; others wait (2)

There is a page at /, and the interface is described at /openapi.json; /docs shows the same to readers, and needs the
internet to do so. It has no passwords: whoever reaches the port can ask.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys serve`; `words` starts with it."""
    if words[1:] in ([], ["-h"], ["--help"]):
        print(HELP, end="")
        return
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--index", default="exact")
    parser.add_argument("--threads", default="2")
    try:
        own, rest = parser.parse_known_args(words[1:])
    except ArgumentError as error:
        raise InputError(f"{error.argument_name} is given without a value, or with one too many.") from error
    if rest:
        raise InputError(f"{rest[0]} is no option of `recsys serve`. `recsys serve --help` lists them.")
    if own.folder is None:
        raise InputError("Say what to serve: recsys serve FOLDER, which `recsys export` wrote.")
    if own.index not in ("exact", "faiss"):
        raise InputError(f"--index is {own.index}; it can be exact or faiss.")
    port, threads = _number("port", own.port, 0, 65535), _number("threads", own.threads, 1, 256)
    for library in ("OPENBLAS", "MKL", "OMP"):  # before numpy is loaded: requests are on threads of their own already,
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # and those of BLAS wait for each other in busy loops
    try:
        from recsys_lightning.serving.server import serve
    except ImportError as error:
        raise InputError(f"`recsys serve` needs {error.name}: pip install recsys-lightning[serve].") from error

    serve(Path(own.folder), own.host, port, own.index, threads)


def _number(name: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"--{name} is {text}; it must be a whole number from {least} to {most}.")
    return int(text)
