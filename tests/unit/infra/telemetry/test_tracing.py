"""Trace context in and out, and what happens without a receiver. Exporting itself is tested against a real receiver."""

from collections.abc import Iterator

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace

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
