"""Trace context in and out, and what happens without a receiver. Exporting itself is tested against a real receiver."""

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.telemetry import tracing

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def no_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert not tracing.exporting()
    yield
    assert not tracing.exporting()


def test_without_a_receiver_nothing_is_set_up() -> None:
    tracing.configure("test")
    tracing.instrument_clients()
    tracing.shutdown()
    assert not tracing.tracer().start_span("s").is_recording()


def test_a_disabled_sdk_wins_over_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing.configure("test")


def test_an_application_is_not_wrapped_for_nothing() -> None:
    async def app(*_: object) -> None: ...

    assert tracing.instrument_asgi(app) is app


def test_an_incoming_trace_travels_on_though_nothing_is_recorded() -> None:
    token = contexts.attach(tracing.context_from({"traceparent": TRACEPARENT, "tracestate": "a=b"}))
    try:
        with tracing.tracer().start_as_current_span("work"):
            assert tracing.inject() == {"traceparent": TRACEPARENT, "tracestate": "a=b"}
    finally:
        contexts.detach(token)
    assert tracing.inject() == {}


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-0-01"}])
def test_headers_without_a_trace_give_an_empty_context(headers: dict[str, str]) -> None:
    context = tracing.context_from(headers)
    assert not trace.get_current_span(context).get_span_context().is_valid


async def test_requests_through_a_transport_that_is_not_httpxs_are_spans_where_spans_are_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = httpx.MockTransport(lambda request: httpx.Response(200, text=request.headers.get("traceparent", "")))
    assert tracing.instrument_transport(plain) is plain
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with monkeypatch.context() as patched:
        patched.setattr(tracing, "exporting", lambda: True)
        patched.setattr(trace, "get_tracer_provider", lambda: provider)
        traced = tracing.instrument_transport(plain)
    async with httpx.AsyncClient(transport=traced) as client:
        told = (await client.get("http://model/v1/models")).text
    (span,) = exporter.get_finished_spans()
    assert told.split("-")[1] == format(span.get_span_context().trace_id, "032x")
