"""The HTTP door: routes, what surrounds them, and the life of the connections."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from gateway import failures
from gateway.auth import Authenticating
from gateway.connections import Connections
from gateway.documenting import Documented
from gateway.middleware import Limiting, Observing, Understanding
from gateway.plain import Plain
from gateway.routes import (
    answers,
    batches,
    chat,
    completions,
    conversations,
    dead_letters,
    documents,
    embeddings,
    events,
    explanations,
    feedback,
    graph,
    health,
    hooks,
    models,
    page,
    receipts,
    responses,
    search,
    sources,
)
from gateway.settings import GatewaySettings

DESCRIPTION = """Takes in a team's events and documents, and answers questions from them with citations.

Every error is `application/problem+json` (RFC 9457) with a stable `code`, or OpenAI's error body on the paths of its
clients. What is accepted with 202 is on the log; `GET /v1/events/{event_id}` tells the rest.
"""

ROUTES = (
    hooks,
    documents,
    search,
    chat,
    completions,
    responses,
    answers,
    batches,
    explanations,
    conversations,
    feedback,
    models,
    embeddings,
    graph,
    events,
    receipts,
    sources,
    dead_letters,
    health,
    page,
)
"""In the order of the OpenAPI document."""


def create_app(
    settings: GatewaySettings, open_connections: Callable[[], AbstractAsyncContextManager[Connections]]
) -> FastAPI:
    """Return the application. Its lifespan opens the connections and closes them after the last request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_connections() as connections:
            app.state.connections = connections
            yield

    app = Documented(
        title="Millrace",
        version=version("millrace"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
        # The interactive pages load scripts from elsewhere; the document itself is all that clients need.
        docs_url=None,
        redoc_url=None,
        # Spans are made once, by infra.telemetry.tracing; the built-in ones would double them and record stack traces.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for routes in ROUTES:
        app.include_router(routes.router)
    failures.install(app)
    app.add_middleware(Plain, ways=[chat.PLAIN, completions.PLAIN, responses.PLAIN])
    # Outermost last. Nothing of a body is read before its sender is known and its size is within the limit.
    app.add_middleware(Authenticating)
    app.add_middleware(Limiting, settings=settings)
    app.add_middleware(Observing)
    app.add_middleware(Understanding)
    return app
