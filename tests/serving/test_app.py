from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from recsys_lightning.serving.app import make_app
from recsys_lightning.serving.engine import Engine
from recsys_lightning.serving.limits import HEADERS
from tests.serving.exports import write_export


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    engine = Engine(write_export(tmp_path_factory.mktemp("app") / "export"))
    with TestClient(make_app(engine), raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, address: str, body: Any) -> Any:
    response = client.post(address, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def problem(client: TestClient, method: str, address: str, **options: Any) -> tuple[int, str]:
    response = client.request(method, address, **options)
    assert set(response.json()) == {"detail"}
    return response.status_code, response.json()["detail"]


def test_health(client: TestClient) -> None:
    assert client.get("/health").json() == {
        "status": "ok",
        "model": "TwoTower",
        "data": "made-up",
        "item_type": "book",
        "users": 20,
        "items": 60,
        "dim": 8,
        "index": "exact",
        "folds_in": True,
        "kinds": ["genre"],
        "example_user": "u0",
    }


def test_recommendations(client: TestClient) -> None:
    asked = [{"user": "u1", "k": 2}, {"history": ["i1", "no"], "liked": [{"genre": "War"}], "k": 1}]
    asked.append({"liked": [{"genre": ["War", "SciFi"], "pages": "many"}, {"pages": 300}]})
    first, second, third = post(client, "/recommend", {"requests": asked})["responses"]
    assert [line["rank"] for line in first["recommendations"]] == [1, 2] and first["unknown"] == []
    assert set(first["recommendations"][0]) == {"rank", "item", "title", "score"}
    assert len(second["recommendations"]) == 1 and second["unknown"] == ["no"]
    assert len(third["recommendations"]) == 10 and third["unknown"] == ["pages: many", "genre: SciFi"]
    alone = client.get("/recommend", params={"user": "u1", "k": 2}).json()["recommendations"]
    assert [line["item"] for line in alone] == [line["item"] for line in first["recommendations"]]
    # a product of a matrix may round otherwise than one of a vector
    assert [line["score"] for line in alone] == pytest.approx([line["score"] for line in first["recommendations"]])


def test_similar_items_reasons_and_titles(client: TestClient) -> None:
    assert [line["rank"] for line in post(client, "/similar", {"item": "i1", "k": 3})["items"]] == [1, 2, 3]
    described = post(client, "/similar", {"metadata": {"genre": ["War"], "pages": "300"}, "k": 3})["items"]
    assert len(described) == 3
    said = post(client, "/similar", {"metadata": {"genre": ["War", "SciFi"]}, "k": 1})["unknown"]
    assert said == ["genre: SciFi"] and post(client, "/similar", {"item": "i1"})["unknown"] == []
    found = post(client, "/explain", {"history": ["i2", "i3"], "item": "i6"})
    assert set(found) == {"score", "meaning", "reasons", "shared"}
    assert {reason["item"] for reason in found["reasons"]} == {"i2", "i3"}
    assert found["shared"] == [{"kind": "genre", "value": "War"}]
    assert post(client, "/explain", {"user": "u1", "item": "i6"})["meaning"] != found["meaning"]
    assert client.get("/items", params={"query": "hobbit"}).json() == {"items": [{"item": "i1", "title": "The Hobbit"}]}
    assert client.get("/items", params={"query": ""}).json() == {"items": []}


@pytest.mark.parametrize(
    ("method", "address", "options", "status", "detail"),
    [
        ("GET", "/recommend?user=x", {}, 404, "There is no user 'x' among the 20 of made-up."),
        ("GET", "/recommend", {}, 422, "user: Field required."),
        ("GET", "/recommend?user=u1&k=0", {}, 422, "k: Input should be greater than or equal to 1."),
        ("GET", "/items?query=a&limit=x", {}, 422, "limit: Input should be a valid integer"),
        ("GET", "/nowhere", {}, 404, "There is nothing at this address: see /docs."),
        ("DELETE", "/recommend", {}, 405, "This address takes another method: see /docs."),
        ("POST", "/similar", {"json": {"item": "x"}}, 404, "There is no book 'x'"),
        ("POST", "/similar", {"json": {"metadata": {"x": 1}}}, 422, "metadata: The model reads no 'x' of items."),
        ("POST", "/similar", {"json": {"metadata": {}}}, 422, "metadata says nothing. The model reads pages, genre."),
        (
            "POST",
            "/recommend",
            {
                "json": {
                    "requests": [{"user": "u1"}, {"liked": [{"genre": "War"}, {"genre": "\u202eSciFi", "pages": "x"}]}]
                }
            },
            422,
            "requests[1].liked[1] holds nothing that the model understands, only pages: x, genre: \\u202eSciFi.",
        ),
        ("POST", "/recommend", {"json": {"requests": [{"liked": [{}]}]}}, 422, "requests[0].liked[0] says nothing."),
        (
            "POST",
            "/recommend",
            {"json": {"requests": [{"history": ["i1"], "liked": [{"genre": [str(n) for n in range(99)]}]}]}},
            422,
            "requests[0].liked[0] holds nothing that the model understands, only genre: 0, genre: 1, genre: 2, "
            "genre: 3, genre: 4 and 94 more.",
        ),
        ("POST", "/similar", {"json": {"metadata": {"pages": True}}}, 422, "metadata.pages: Give a text, a number"),
        ("POST", "/similar", {"json": {"item": "i1", "x": 1}}, 422, "x: There is no such field here."),
        ("POST", "/similar", {"json": {"k": 1}}, 422, "body: Give one of `item`, `metadata`."),
        ("POST", "/recommend", {"json": {"requests": [{"user": "u1"}, {"user": 1}]}}, 422, "requests[1].user: Input"),
        ("POST", "/recommend", {"json": {"requests": [{"user": "u1", "\ud800": 1}]}}, 422, "requests[0]: Input"),
        ("POST", "/recommend", {"content": b'{"requests": [{"user": "\\ud800"}]}'}, 422, "requests[0].user: Input"),
        ("POST", "/recommend", {"content": b'{"requests": [{"user": "u1", "k": NaN}]}'}, 422, "requests[0].k: Input"),
        ("POST", "/recommend", {"content": b"{"}, 422, "The body is no JSON."),
        ("POST", "/recommend", {"content": b"\xff\xfe"}, 422, "The body is no JSON."),
        ("POST", "/recommend", {"content": b"[" * 100_000}, 422, "The body is no JSON."),
        ("POST", "/recommend", {"content": b'{"requests": ' + b"9" * 5000 + b"}"}, 422, "The body is no JSON."),
        ("POST", "/recommend", {"content": b""}, 422, "body: Field required."),
        ("POST", "/recommend", {"content": b" " * 1_000_001}, 413, "The body is larger than 1,000,000 bytes."),
    ],
)
def test_errors_are_sentences(
    client: TestClient, method: str, address: str, options: dict[str, Any], status: int, detail: str
) -> None:
    if "json" in options:  # as httpx refuses to write what is no Unicode
        options = {"content": json.dumps(options["json"]).encode()}
    headers = {"content-type": "application/json"}
    found, said = problem(client, method, address, headers=headers, **options)
    assert (found, said[: len(detail)]) == (status, detail)


def test_what_the_model_cannot_do(tmp_path: Path) -> None:
    client = TestClient(make_app(Engine(write_export(tmp_path / "export", folds_in=False))))
    status, said = problem(client, "POST", "/recommend", json={"requests": [{"history": ["i1"]}]})
    assert status == 409 and said.startswith("MF knows the users of its data only")
    assert "(TwoTower with metadata, ItemKNN, EASE, GFCF, ContentKNN) answer for histories" in said


def test_a_failure_tells_nothing_of_itself_and_is_logged_without_what_was_asked(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Engine, "recommend", fail)
    with caplog.at_level(logging.ERROR):
        response = client.get("/recommend?user=somebody")
    assert response.status_code == 500
    assert response.json() == {"detail": "The server failed to answer. Its log says why."}
    assert HEADERS.items() <= response.headers.items()
    assert caplog.messages == ["GET /recommend failed: RuntimeError"]


def test_the_page_and_the_documentation(client: TestClient) -> None:
    page = client.get("/")
    assert page.text.lstrip().lower().startswith("<!doctype html>") and "content-security-policy" in page.headers
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/docs").status_code == 200
    assert "access-control-allow-origin" not in client.get("/health", headers={"origin": "http://x"}).headers
    described = client.get("/openapi.json").json()
    assert "/docs loads its script from the internet" in described["info"]["description"]
    addresses = described["paths"]
    assert set(addresses) == {"/health", "/recommend", "/similar", "/explain", "/items"}
    for methods in addresses.values():
        for operation in methods.values():
            assert operation["description"] and operation["responses"]["200"]["content"]["application/json"]["schema"]
            if "requestBody" in operation:
                assert {"404", "409", "413", "422"} <= set(operation["responses"])
