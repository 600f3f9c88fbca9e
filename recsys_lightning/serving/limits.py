"""Bounds of the server that no endpoint sees: the size of bodies, and headers of every answer."""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 1_000_000
"""Of a request's body."""

TOO_LARGE = f"The body is larger than {MOST_BYTES:,} bytes. Ask for fewer at a time."

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Of every answer."""


class Limits:
    """Refuses large bodies before they are read as a whole, and adds headers.

    Args:
        app: an ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        read, started = 0, False

        async def limited() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise _TooLarge
            return message

        async def with_headers(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > MOST_BYTES:
            await _refuse(with_headers)
            return
        try:
            await self.app(scope, limited, with_headers)
        except _TooLarge:
            if started:
                raise
            await _refuse(with_headers)


class _TooLarge(BaseException):
    """No Exception: whoever reads a body takes those for a body that is malformed."""


async def _refuse(send: Any) -> None:
    body = json.dumps({"detail": TOO_LARGE}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
