"""Whatever is asked, the server answers in JSON and in sentences: no 500, no crash, nothing about its machine."""

import json
import random
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from recsys_lightning.serving.app import make_app
from recsys_lightning.serving.engine import Engine
from recsys_lightning.serving.server import listen
from tests.conftest import REPOSITORY
from tests.serving.exports import write_export

DOCUMENTED = {200, 404, 405, 409, 413, 422}
JSON = {"content-type": "application/json"}
KINDS = {"towers": ("vectors", True), "vectors": ("vectors", False), "sums": ("dense", True)}


class Asked:
    """A client that looks at every answer, and counts them by status."""

    def __init__(self, client: TestClient, folder: Path) -> None:
        self.client = client
        self.statuses: Counter[int] = Counter()
        self.refused: set[tuple[str, str, str]] = set()
        places = {str(folder), folder.name, str(REPOSITORY), sys.prefix, str(Path.home())} - {"/"}
        self.leak = re.compile("|".join(["Traceback", "site-packages", r"\.(py|npy|onnx)\b", *map(re.escape, places)]))

    def __call__(self, method: str, address: str, **options: Any) -> Any:
        response = self.client.request(method, address, **options)
        self.check(response)
        if response.status_code != 200:
            self.refused.add((method, address, repr(options)))
        return json.loads(response.text) if response.text else None

    def check(self, response: httpx.Response) -> None:
        """An answer is documented, JSON, one sentence where it is an error, and tells nothing about the machine."""
        self.statuses[response.status_code] += 1
        assert response.status_code in DOCUMENTED, (response.status_code, response.text)
        assert not self.leak.search(response.text), response.text
        assert not self.leak.search(str(response.headers)), response.headers
        if response.request.method == "HEAD":
            return
        content = json.loads(response.text, parse_constant=_no_json)
        if response.status_code != 200:
            assert set(content) == {"detail"}, content
            assert isinstance(content["detail"], str) and 5 < len(content["detail"]) < 1000, content


def _no_json(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(write_export(tmp_path_factory.mktemp("secretly-named") / "export-of-it", *KINDS[request.param]))


@pytest.fixture
def ask(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with TestClient(make_app(engine), follow_redirects=False) as client:
        yield Asked(client, tmp_path_factory.getbasetemp() / "export-of-it")


def fuzz(ask: Asked, number: int) -> int:
    """Ask for what the interface's own description forbids, over all its operations; returns how many were refused."""
    schema = schemathesis.openapi.from_dict(ask.client.get("/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [one for one in operations if one.path != "/health"]  # it takes nothing that could be wrong
    assert len(operations) == 5
    for operation in operations:

        @seed(5)
        @settings(
            max_examples=number // len(operations),
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(GenerationMode.NEGATIVE))
        def send(case: schemathesis.Case) -> None:
            made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
            headers = {name: value for name, value in made.headers.items() if name != "X-Schemathesis-TestCaseId"}
            ask(made.method, made.url, content=made.body, headers=headers)

        send()
    return len(ask.refused)


@pytest.mark.parametrize("engine", ["towers"], indirect=True)
def test_requests_that_the_schema_forbids(ask: Asked) -> None:
    assert fuzz(ask, 260) > 120


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["towers"], indirect=True)
def test_a_thousand_requests_that_the_schema_forbids(ask: Asked) -> None:
    assert fuzz(ask, 2400) > 1000


def bodies() -> Iterator[tuple[str, bytes]]:
    """Bodies by name, each of which no endpoint takes."""
    for name, k in {
        "zero": "0", "negative": "-1", "many": "1001", "infinite": "1e309", "boolean": "true", "NaN": "NaN",
        "Infinity": "Infinity", "text": '"10"', "fraction": "1.5", "null": "null", "huge": "9" * 400,
        "endless": "9" * 5000, "exponent": "1e5", "list": "[1]",
    }.items():  # fmt: skip
        yield f"k: {name}", b'{"requests": [{"user": "u0", "k": %s}]}' % k.encode()
    people: dict[str, Any] = {
        "empty history": {"history": []},
        "long history": {"history": ["i0"] * 501},
        "long id": {"history": ["i" * 201]},
        "empty id": {"user": ""},
        "long user": {"user": "u" * 201},
        "number for an id": {"user": 0},
        "user and history": {"user": "u0", "history": ["i0"]},
        "nobody": {},
        "unknown field": {"user": "u0", "__class__": "x"},
        "path-like user": {"user": "../../../etc/passwd"},
        "null byte": {"user": "u0\0"},
        "surrogate": {"user": "\ud800"},
        "surrogate of an unknown item": {"history": ["i0", "\udfff"]},
        "surrogate name of a field": {"user": "u0", "\ud800": 1},
        "lines in the name of a field": {"user": "u0", "x\r\nSet-Cookie: a=b": 1},
        "nothing liked": {"liked": []},
        "much liked": {"liked": [{}] * 51},
        "deep": {"liked": [{"genre": {"genre": {"genre": []}}}]},
        "unknown column": {"liked": [{"__init__": "x"}]},
        "boolean number": {"liked": [{"pages": True}]},
        "number out of range": {"liked": [{"pages": 1e300}]},
        "long text": {"liked": [{"genre": "x" * 5001}]},
        "exclude": {"user": "u0", "exclude": ["i0"] * 1001},
        "exclude known": {"user": "u0", "exclude_known": "yes"},
    }
    for name, person in people.items():
        yield name, json.dumps({"requests": [person]}).encode()
    yield "nobody at all", b'{"requests": []}'
    yield "too many people", json.dumps({"requests": [{"user": "u0"}] * 101}).encode()
    yield "deep nesting", b"[" * 100_000
    yield "deep nesting that ends", b'{"requests":' * 20_000 + b"1" + b"}" * 20_000
    yield "a number", b"1"
    yield "nothing", b""
    yield "half", b'{"requests": [{"user": "u0"'
    yield "duplicated keys", b'{"requests": [{"user": "u0"}], "requests": []}'
    yield "invalid UTF-8", b'{"requests": [{"user": "\xff\xfe"}]}'
    yield "UTF-16", '{"requests": []}'.encode("utf-16")
    yield "byte order mark", '{"requests": []}'.encode("utf-8-sig")
    yield "null bytes", b"\0" * 100
    yield "2 MB", b'{"requests": [{"user": "%s"}]}' % (b"u" * 2_000_000)
    yield "a pickle", b"\x80\x04\x95cos\nsystem\n(S'id'\ntR."
    yield "XML", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'


@pytest.mark.parametrize("address", ["/recommend", "/similar", "/explain"])
def test_bodies_that_are_refused(ask: Asked, address: str) -> None:
    for name, body in bodies():
        before = ask.statuses[200]
        ask("POST", address, content=body, headers=JSON)
        assert ask.statuses[200] == before, name
        ask("POST", address, content=iter([body]), headers=JSON)  # in chunks, of a length that nobody declares
        assert ask.statuses[200] == before, name


def test_other_types_of_content(ask: Asked) -> None:
    body = b'{"requests": [{"user": "u0"}]}'
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "\xe9", ""):
        ask("POST", "/recommend", content=body, headers={"content-type": kind.encode("latin-1")})
    ask("POST", "/recommend", content=body, headers={"content-encoding": "gzip", **JSON})
    ask("POST", "/recommend", files={"requests": b"x"})
    assert set(ask.statuses) <= {200, 422}


def test_addresses_and_methods(ask: Asked) -> None:
    for path in (
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.html", "/manifest.json", "/users.npy", "/%00",
        "/health/", "/recommend/u0", "/" + "x" * 60_000, "/%ff%fe", "/static/app.py",
    ):  # fmt: skip
        ask("GET", path)
    assert set(ask.statuses) == {404}
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW", "HEAD"):
        for path in ("/recommend", "/similar", "/health", "/items"):
            ask(method, path)
    assert set(ask.statuses) <= {404, 405}


def test_queries(ask: Asked) -> None:
    for k in ("0", "-1", "1001", "1e309", "true", "NaN", "9" * 5000, "1.5", ""):
        ask("GET", "/recommend", params={"user": "u0", "k": k})
    for user in (
        "",
        "u" * 201,
        "\0",
        "../../etc/passwd",
        "u0\r\nSet-Cookie: a=b",
        "{{7*7}}",
        "'; DROP TABLE users; --",
    ):
        ask("GET", "/recommend", params={"user": user})
    assert not ask.statuses[200]
    for raw in (b"user=%ff%fe", b"user=%ed%a0%80", b"user", b"&&&==", b"user=u1&user=u0&k=1&k=0", b"user=%"):
        ask("GET", f"/recommend?{raw.decode()}")
    for words in (
        "",
        " ",
        "\0",
        "(",
        ".*",
        "\ud7ff" * 200,
        "x" * 201,
        "\u0130\u1e9e\ufb01",
        "\n",
        "a" * 199 + "\u0301",
    ):
        ask("GET", "/items", params={"query": words})
    for limit in ("0", "101", "-1", "x"):
        ask("GET", "/items", params={"query": "a", "limit": limit})


def test_ids_that_are_unknown_come_back_as_they_are(ask: Asked, engine: Engine) -> None:
    strange = ["\0", "../../etc/passwd", "<script>", "%s%n", "\u202e", "i0 ", "\U0010ffff", "i" * 200]
    body = {"requests": [{"user": "u0", "exclude": strange}]}
    assert ask("POST", "/recommend", json=body)["responses"][0]["unknown"] == strange
    if engine.manifest.folds_in:
        body = {"requests": [{"history": ["i0", *strange]}]}
        assert ask("POST", "/recommend", json=body)["responses"][0]["unknown"] == strange


def test_whatever_metadata_hold(ask: Asked, engine: Engine) -> None:
    records: list[dict[str, Any]] = [
        {}, {"pages": None}, {"pages": "many"}, {"pages": "1e308"}, {"pages": "-inf"}, {"pages": "9" * 4999},
        {"pages": -1e15}, {"pages": ["1"]}, {"pages": "\0"}, {"genre": 5}, {"genre": []}, {"genre": "\u202eWar"},
        {"genre": ["", " ", "War", "War"]},
    ]  # fmt: skip
    for record in records:
        ask("POST", "/recommend", json={"requests": [{"liked": [record] * 50, "k": 1000}]})
        ask("POST", "/similar", json={"metadata": record, "k": 1000})
    assert set(ask.statuses) == ({200, 422} if engine.manifest.columns else {409})


HEALTH = b"GET /health HTTP/1.1\r\nhost: a\r\n"
POST = b"POST /recommend HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
GARBAGE = {
    "noise": random.Random(0).randbytes(4000),
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(100),
    "no version": b"GET /\r\n\r\n",
    "another version": b"GET /health HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two slashes": b"GET //health HTTP/1.1\r\nhost: a\r\n\r\n",
    "way out": b"GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
    "long header": HEALTH + b"x: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": HEALTH + b"a: b\r\n" * 20_000 + b"\r\n",
    "folded header": HEALTH + b" folded\r\n\r\n",
    "null in a header": HEALTH + b"x: a\0b\r\n\r\n",
    "negative length": POST + b"content-length: -1\r\n\r\n{}",
    "two lengths": POST + b"content-length: 2\r\ncontent-length: 9\r\n\r\n{}",
    "endless length": POST + b"content-length: " + b"9" * 500 + b"\r\n\r\n{}",
    "length and chunks": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "broken chunks": CHUNKED + b"zz\r\n{}\r\n",
    "large chunk": CHUNKED + b"fffffffffffffffff\r\n{}",
    "2 MB in chunks": CHUNKED + (b"ffff\r\n%s\r\n" % (b"[" * 65535)) * 32,
    "cut off": POST + b"content-length: 1000\r\n\r\n{",
    "proxy": b"GET http://elsewhere.invalid/ HTTP/1.1\r\nhost: elsewhere.invalid\r\n\r\n",
    "tunnel": b"CONNECT elsewhere.invalid:443 HTTP/1.1\r\nhost: elsewhere.invalid\r\n\r\n",
    "another protocol": HEALTH + b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\n\r\n",
    "a good one, then noise": HEALTH + b"\r\n" + random.Random(1).randbytes(2000),
    "a hundred at once": (HEALTH + b"\r\n") * 100,
}


@pytest.fixture(scope="module")
def port(engine: Engine) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_app(engine), log_level="critical", server_header=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.mark.parametrize("engine", ["towers"], indirect=True)
def test_garbage_on_the_socket(port: int, ask: Asked) -> None:
    for name, garbage in GARBAGE.items():
        answer = exchange(port, garbage)
        assert not answer or re.match(rb"HTTP/1\.1 [24]\d\d ", answer), (name, answer[:200])
        assert not ask.leak.search(answer.decode("latin-1")), name
    assert b'"status":"ok"' in exchange(port, b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")


def exchange(port: int, content: bytes) -> bytes:
    """Send, say that there is no more, and read until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):  # the server has heard enough
            pass
    return answer
