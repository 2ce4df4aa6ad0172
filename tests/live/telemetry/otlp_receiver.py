"""A real OTLP/HTTP receiver: takes trace exports of any process and answers as a collector does.

Protocol: OTLP 1.x over HTTP with binary protobuf, `POST /v1/traces`
(https://opentelemetry.io/docs/specs/otlp/#otlphttp). It runs in a thread of its own, so that a busy test loop does not
hold up the processes under test.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was exported, ids in lower-case hexadecimal."""

    trace: str
    id: str
    parent: str
    """Empty for the root of a trace that began here."""
    name: str
    service: str
    attributes: dict[str, Any]


class Receiver:
    """What has been received. Exports are kept as bytes and decoded when asked for."""

    def __init__(self) -> None:
        self._exports: list[bytes] = []
        self._lock = Lock()
        self.endpoint = ""
        """Value for OTEL_EXPORTER_OTLP_ENDPOINT."""

    def take(self, export: bytes) -> None:
        """Keep one export. Raises google.protobuf.message.DecodeError if it is none."""
        ExportTraceServiceRequest.FromString(export)
        with self._lock:
            self._exports.append(export)

    def exports(self) -> list[bytes]:
        """Return the exports as they came: also what `Span` leaves out, such as events and statuses."""
        with self._lock:
            return list(self._exports)

    def spans(self) -> Iterator[Span]:
        """Yield every span received so far."""
        for export in self.exports():
            for resource in ExportTraceServiceRequest.FromString(export).resource_spans:
                service = _attributes(resource.resource.attributes).get("service.name", "")
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield Span(
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.name,
                            service,
                            _attributes(span.attributes),
                        )

    def traces(self) -> dict[str, list[Span]]:
        """Return the spans by trace."""
        found: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans():
            found[span.trace].append(span)
        return dict(found)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Yield a receiver that listens on loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing: the test looks at what was received."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
