"""The HTTP interface of an engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from recsys_lightning import __version__
from recsys_lightning.errors import InputError
from recsys_lightning.serving import messages
from recsys_lightning.serving.engine import Answer, Ask, Engine, Listed, NotFound
from recsys_lightning.serving.limits import HEADERS, Limits
from recsys_lightning.serving.page import read_page
from recsys_lightning.serving.scorers import Unable

log = logging.getLogger(__name__)

ABOUT = (
    "The page /docs loads its script from the internet, and is blank without it. /openapi.json describes the same "
    "interface and needs nothing from elsewhere."
)

PROBLEMS: dict[int, str] = {
    404: "There is no such user or item.",
    409: "The model cannot do what is asked for.",
    413: "The body is larger than 1 MB.",
    422: "The request is malformed.",
}


def make_app(engine: Engine, threads: int = 2) -> FastAPI:
    """The application that answers for an engine.

    Args:
        engine: of an export.
        threads: requests that are worked on at a time; others wait.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        yield

    app = FastAPI(
        title="recsys",
        version=__version__,
        summary=f"Recommendations of {engine.manifest.model} for {engine.manifest.data}",
        description=ABOUT,
        lifespan=lifespan,
        redirect_slashes=False,  # it would send people where their own Host header says
    )
    app.add_middleware(Limits)
    _add_answers(app, engine)
    _add_page(app, engine)
    for kind, status in ((NotFound, 404), (Unable, 409), (InputError, 422)):
        app.add_exception_handler(kind, _teller(status))
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    return app


def _add_answers(app: FastAPI, engine: Engine) -> None:
    """Endpoints that calculate: each runs on a thread of its own."""

    @app.post("/recommend", response_model=messages.Lists, responses=_problems(404, 409, 413, 422), tags=["ask"])
    def recommend(body: messages.Recommend) -> Response:
        """The best items for each of up to 100 people: users of the data, or new ones by what they have."""
        asked = [Ask(**request.model_dump()) for request in body.requests]
        return JSONResponse({"responses": [_answer(answer) for answer in engine.recommend(asked)]})

    @app.get("/recommend", response_model=messages.List, responses=_problems(404, 422), tags=["ask"])
    def recommend_to(
        user: Annotated[str, Query(min_length=1, max_length=200)],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
    ) -> Response:
        """The best items for one user of the data."""
        return JSONResponse(_answer(engine.recommend([Ask(user=user, k=k)])[0]))

    @app.post("/similar", response_model=messages.Similars, responses=_problems(404, 409, 413, 422), tags=["ask"])
    def similar(body: Annotated[messages.Similar, Body(examples=[{"item": "68646", "k": 5}])]) -> Response:
        """The items that the model finds most like one of the catalogue, or like what metadata describe."""
        item = body.item if isinstance(body, messages.SimilarToItem) else body.metadata
        unknown = [] if isinstance(item, str) else engine.unknown(item)
        return JSONResponse({"items": _lines(engine.similar(item, body.k)), "unknown": unknown})

    @app.post("/explain", response_model=messages.Explanation, responses=_problems(404, 409, 413, 422), tags=["ask"])
    def explain(body: Annotated[messages.Explain, Body(examples=[{"user": "1", "item": "68646"}])]) -> Response:
        """Why an item has its score: the user's own items, strongest first, and the categories that they share."""
        found = engine.explain(**body.model_dump())
        reasons, shared = ([part._asdict() for part in parts] for parts in (found.reasons, found.shared))
        return JSONResponse({**found._asdict(), "reasons": reasons, "shared": shared})

    @app.get("/items", response_model=messages.Found, responses=_problems(422), tags=["names"])
    def items(
        query: Annotated[str, Query(max_length=200, description="Words of the title, in any order.")],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Response:
        """Items by words of their titles."""
        return JSONResponse({"items": [{"item": raw, "title": title} for raw, title in engine.search(query, limit)]})


def _add_page(app: FastAPI, engine: Engine) -> None:
    """Endpoints that answer at once, however busy the threads are."""

    @app.get("/health", response_model=messages.Health, tags=["names"])
    async def health() -> Response:
        """What is served, and what it can do."""
        return JSONResponse(engine.health())

    text, policy = read_page()

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(text, headers={"content-security-policy": policy})


def _answer(answer: Answer) -> dict[str, Any]:
    return {"recommendations": _lines(answer.recommendations), "unknown": answer.unknown}


def _lines(lines: list[Listed]) -> list[dict[str, Any]]:
    return [line._asdict() for line in lines]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": messages.Problem, "description": PROBLEMS[status]} for status in statuses}


# Errors: a sentence each, and nothing of what was sent but ids and names that have passed the bounds


def _teller(status: int) -> Any:
    async def tell(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status)

    return tell


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    kind, message = first["type"], first["msg"].rstrip(".")
    if kind == "json_invalid":
        return JSONResponse({"detail": "The body is no JSON."}, 422)
    if kind == "extra_forbidden":
        message = "There is no such field here"
    return JSONResponse({"detail": f"{_path(first['loc'])}: {message}."}, 422)


def _path(place: tuple[int | str, ...]) -> str:
    """Where something is wrong, like `requests[0].k`; names of fields are the sender's, and so cut and escaped."""
    told = [part for part in place[1:] if not (isinstance(part, str) and part.startswith("("))]  # a variant's name
    names = [f"[{part}]" if isinstance(part, int) else f".{ascii(part)[1:-1][:50]}" for part in told]
    return "".join(names).lstrip(".") or str(place[0])


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework refuses: addresses, methods, bodies that cannot be parsed."""
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return JSONResponse({"detail": "The body is no JSON."}, 422)
    told = {404: "There is nothing at this address: see /docs.", 405: "This address takes another method: see /docs."}
    return JSONResponse({"detail": told.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    detail = "The server failed to answer. Its log says why."
    return JSONResponse({"detail": detail}, 500, HEADERS)  # this answer does not pass through Limits
