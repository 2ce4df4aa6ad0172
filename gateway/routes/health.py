"""Is this process alive, can it serve, and what does it count. Open: nothing here names a workspace or an address."""

from dataclasses import asdict

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.responses import Response

from gateway.connections import Held
from gateway.documenting import problems
from gateway.problems import Code, Problem
from infra.telemetry.metrics import REGISTRY

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The event loop answers."""

    status: str = "alive"


class DependencyState(BaseModel):
    """What one dependency answered to a real question."""

    ok: bool
    needed: bool
    latency_ms: float
    detail: str = ""


class Readiness(BaseModel):
    """`ready` is false if a dependency that every request needs does not answer."""

    ready: bool
    dependencies: dict[str, DependencyState]


@router.get("/health/live", response_model=Alive)
async def live() -> Alive:
    """Answer at all: that this returns shows that the event loop turns."""
    return Alive()


@router.get("/health/ready", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(held: Held) -> Response:
    """Ask every dependency, each for at most two seconds. An answer stands for one second."""
    states = await held.readiness.get("all")
    well = all(state.ok for state in states.values() if state.needed)
    body = {"ready": well, "dependencies": {name: asdict(state) for name, state in states.items()}}
    return Response(orjson.dumps(body), 200 if well else 503, media_type="application/json")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics() -> Response:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


class Explanation(BaseModel):
    """What a problem's code means."""

    code: str
    status: int
    title: str
    meaning: str


@router.get("/v1/problems/{code}", response_model=Explanation, responses=problems(Code.NOT_FOUND), tags=["problems"])
async def explain(code: str) -> Explanation:
    """Explain a problem's code: a problem's `type` is the path of this page."""
    found = Code.labelled(code)
    if found is None:
        raise Problem(Code.NOT_FOUND)
    return Explanation(
        code=found.label, status=found.value.status, title=found.value.title, meaning=found.value.meaning
    )
