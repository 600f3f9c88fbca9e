"""Listens, and answers until it is told to stop."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Literal

import uvicorn

from recsys_lightning.errors import InputError
from recsys_lightning.serving.app import make_app
from recsys_lightning.serving.engine import Engine


def serve(folder: Path, host: str, port: int, index: Literal["exact", "faiss"], threads: int) -> None:
    """Serve an export until SIGINT or SIGTERM; requests that are being worked on are answered first.

    Args:
        folder: of the export.
        host: to listen on.
        port: 0 for any that is free.
        index: `exact` or `faiss`.
        threads: requests that are worked on at a time.

    Raises:
        InputError: the export cannot be read, or nobody can listen there.
    """
    engine = Engine(folder, index)
    listener = listen(host, port)
    held = engine.manifest
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listener.getsockname()[1]}"
    print(
        f"{held.model} for {held.data}: {held.users:,} users, {held.items:,} {held.item_type}s\n"
        f"page: {address}/\ninterface: {address}/docs\nstop it: Ctrl-C",
        flush=True,
    )
    config = uvicorn.Config(
        make_app(engine, threads), log_level="warning", server_header=False, timeout_graceful_shutdown=10
    )
    # once it has shut down, uvicorn sends itself the signal again: that is no news, and no failure
    before = {stop: signal.signal(stop, lambda *_: None) for stop in (signal.SIGINT, signal.SIGTERM)}
    try:
        uvicorn.Server(config).run([listener])
    finally:
        listener.close()
        for stop, handler in before.items():
            signal.signal(stop, handler)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address is none of this machine, or taken.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host is {host}, which is no address of this machine.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(
            f"Nobody can listen on {host}, port {port} ({error.strerror}). Choose another: --port N, or 0 for any "
            "that is free."
        ) from error
    return listener
