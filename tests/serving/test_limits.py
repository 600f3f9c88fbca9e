from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recsys_lightning.serving.limits import HEADERS, MOST_BYTES, Limits, _TooLarge


def ask(parts: list[bytes], declared: bytes | None = None, answer_first: bool = False) -> tuple[list[Any], int]:
    """What is sent for a body in parts, and how many of them were read."""
    read = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if answer_first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in parts:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> Any:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": parts[read - 1], "more_body": read < len(parts)}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if declared is None else [(b"content-length", declared)]
    asyncio.run(Limits(app)({"type": "http", "headers": headers}, receive, send))
    return sent, read


def test_a_body_within_the_limit_passes_and_the_answer_gets_headers() -> None:
    sent, _ = ask([b"x" * MOST_BYTES, b""], declared=str(MOST_BYTES).encode())
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"]) == {
        b"a": b"b",
        **{name.encode(): value.encode() for name, value in HEADERS.items()},
    }


@pytest.mark.parametrize("declared", [None, b"10", b"nonsense", b"-1"])
def test_a_larger_one_is_refused_as_it_comes_whatever_it_declares(declared: bytes | None) -> None:
    sent, read = ask([b"x" * 600_000, b"x" * 600_000, b"x" * 600_000], declared)
    assert sent[0]["status"] == 413 and b"larger than 1,000,000 bytes" in sent[1]["body"]
    assert read == 2


def test_one_that_declares_its_size_is_not_read_at_all() -> None:
    for declared in (b"1000001", b"9" * 5000):
        sent, read = ask([b""], declared)
        assert sent[0]["status"] == 413 and read == 0


def test_what_is_no_request_passes() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Limits(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


def test_after_the_answer_began_the_connection_breaks() -> None:
    with pytest.raises(_TooLarge):
        ask([b"x" * 600_000, b"x" * 600_000], answer_first=True)
