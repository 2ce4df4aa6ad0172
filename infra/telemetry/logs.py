"""Structured logs: one JSON object a line on stderr, with the event id and workspace being worked on, and no secrets.

Everything goes through one handler, the standard library's records of other packages too, so that none of them can
print around the redaction.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

import orjson
import structlog
from opentelemetry import trace
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars
from structlog.stdlib import ProcessorFormatter

from infra.telemetry.redaction import redact

QUIET = {
    # two lines per message otherwise
    "faststream": logging.WARNING,
    "aiokafka": logging.WARNING,
    # one line per request otherwise; the metrics count them
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "neo4j": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers of other packages whose least level is raised; DEBUG lowers them again."""


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stderr) as JSON lines from `level` up. A second call replaces it."""
    shared: list[Any] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_ids,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.PositionalArgumentsFormatter(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                # to text before redaction: an exception's message may quote an address with its password
                structlog.processors.format_exc_info,
                _redact,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else least)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger called `name` (a module's `__name__`)."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add `fields` (event_id, workspace, worker, …) to every line logged within, across awaits of this task."""
    # Not bound_contextvars(): a generator within this one, 4 % of what a chat costs the gateway.
    tokens = bind_contextvars(**{name: str(value) for name, value in fields.items()})
    try:
        yield
    finally:
        reset_contextvars(**tokens)


def _trace_ids(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    redacted: dict[str, Any] = redact(dict(event))
    return redacted


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
