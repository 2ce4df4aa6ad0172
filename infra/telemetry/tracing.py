"""OpenTelemetry: one trace from the door to the last sink, carried in W3C headers (Trace Context, level 1).

Spans leave the process over OTLP/HTTP only if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
is set (OpenTelemetry's own variables, which also hold headers, sampling and batching). Without them every span is a
no-op, but an incoming trace still travels on.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    import httpx

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
UNTRACED = "health/live,health/ready,metrics"
"""Paths that are asked every few seconds by machines and say nothing about the work."""

Asgi = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

_PROPAGATOR = TraceContextTextMapPropagator()
_shutdowns: list[Callable[[], None]] = []


def exporting() -> bool:
    """Say whether spans leave this process."""
    return bool(_shutdowns)


def configure(service_name: str) -> None:
    """Start exporting as service `millrace.<service_name>` if the environment names a receiver. Once per process."""
    wanted = any(os.environ.get(name) for name in ENDPOINTS)
    if exporting() or not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {
        "service.namespace": "millrace",
        "service.name": f"millrace.{service_name}",
        "service.version": version("millrace"),
        "service.instance.id": f"{os.uname().nodename}:{os.getpid()}",
    }
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _shutdowns.append(provider.shutdown)


def shutdown() -> None:
    """Send what is buffered and stop exporting. Blocks for up to the exporter's timeout: call it off the event loop."""
    while _shutdowns:
        _shutdowns.pop()()


def tracer() -> Tracer:
    """Return Millrace's tracer; a no-op one while nothing is exported."""
    return trace.get_tracer("millrace", version("millrace"))


def instrument_asgi(app: Asgi) -> Asgi:
    """Wrap `app` so that each request but health and metrics is a span. Returns `app` itself if nothing is exported."""
    if not exporting():
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    # one span per request: the separate receive and send spans of a body would bury the trace
    wrapped: Asgi = OpenTelemetryMiddleware(app, excluded_urls=UNTRACED, exclude_spans=["receive", "send"])
    return wrapped


def instrument_clients() -> None:
    """Make every httpx, asyncpg and redis call a span. Parameters of statements are never recorded."""
    if not exporting():
        return
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    clients: tuple[Callable[[], Any], ...] = (
        AsyncPGInstrumentor,
        HTTPXClientInstrumentor,
        RedisInstrumentor,
    )
    for client in clients:
        instrumentor = client()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument()


def instrument_transport(transport: "httpx.AsyncBaseTransport") -> "httpx.AsyncBaseTransport":
    """Make every request through a transport that is not httpx's own a span, which `instrument_clients` cannot."""
    if not exporting():
        return transport
    from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport

    traced: httpx.AsyncBaseTransport = AsyncOpenTelemetryTransport(transport)
    return traced


def context_from(headers: Mapping[str, str]) -> Context:
    """Return the context that `traceparent` and `tracestate` of `headers` name; an empty one if they name none."""
    return _PROPAGATOR.extract(headers, context=Context())


def inject() -> dict[str, str]:
    """Return `traceparent` (and `tracestate`) of the current span, empty outside of any trace."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers
