"""`recsys serve`: an exported model over HTTP."""

from __future__ import annotations

import os
from pathlib import Path

from recsys_lightning.cli.own_options import OwnOptions, whole_number
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
    parser = OwnOptions()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--index", default="exact")
    parser.add_argument("--threads", default="2")
    own, rest = parser.read(words[1:])
    if rest:
        raise InputError(f"{rest[0]} is no option of `recsys serve`. `recsys serve --help` lists them.")
    if own.folder is None:
        raise InputError("Say what to serve: recsys serve FOLDER, which `recsys export` wrote.")
    if own.index not in ("exact", "faiss"):
        raise InputError(f"--index is {own.index}; it can be exact or faiss.")
    port, threads = whole_number("port", own.port, 0, 65535), whole_number("threads", own.threads, 1, 256)
    for library in ("OPENBLAS", "MKL", "OMP"):  # before numpy is loaded: requests are on threads of their own already,
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # and those of BLAS wait for each other in busy loops
    try:
        from recsys_lightning.serving.server import serve
    except ImportError as error:
        raise InputError(f"`recsys serve` needs {error.name}: pip install recsys-lightning[serve].") from error

    serve(Path(own.folder), own.host, port, own.index, threads)
