"""Log lines: JSON, with what is being worked on, without secrets, whoever wrote them."""

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from infra.telemetry import logs


class Lines:
    """What has been logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging of this test's own; the process's is put back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in logs.QUIET})
    configured = structlog.get_config()
    captured = Lines()
    logs.configure("INFO", captured.stream)
    yield captured
    logging.captureWarnings(False)
    structlog.configure(**configured)
    root.handlers[:], root.level = before[0], before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def test_a_line_is_an_object_with_time_level_and_origin(lines: Lines) -> None:
    logs.logger("workers.x").warning("waiting for %s", "a dependency", delay_s=1.5)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "waiting for a dependency", "level": "warning", "logger": "workers.x", "delay_s": 1.5}


def test_what_is_worked_on_stands_in_each_line_of_its_task(lines: Lines) -> None:
    async def work(workspace: str) -> None:
        with logs.bind(workspace=workspace, event_id="1"):
            await asyncio.sleep(0)
            logs.logger("x").info("inside")
        logs.logger("x").info("outside")

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    inside = [line for line in lines() if line["event"] == "inside"]
    assert sorted(line["workspace"] for line in inside) == ["a", "b"]
    assert all(line["event_id"] == "1" for line in inside)
    assert all("workspace" not in line for line in lines() if line["event"] == "outside")


def test_lines_of_other_packages_are_alike(lines: Lines) -> None:
    with logs.bind(event_id="1"):
        logging.getLogger("other").error("cannot reach %s", "postgresql://u:s3cret@h/d")
    (line,) = lines()
    assert (line["event"], line["event_id"]) == ("cannot reach postgresql://u:[redacted]@h/d", "1")


def test_an_exception_is_one_line_and_keeps_no_secret(lines: Lines) -> None:
    try:
        int("Bearer abcdefghijklmnop")
    except ValueError:
        logs.logger("x").exception("failed", api_key="k")
    (line,) = lines()
    assert line["api_key"] == "[redacted]"
    assert "ValueError: invalid literal for int() with base 10: 'Bearer [redacted]'" in line["exception"]


def test_a_line_names_the_trace(lines: Lines) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("s") as span:
        logs.logger("x").info("traced")
    context = span.get_span_context()
    assert lines()[0]["trace_id"] == format(context.trace_id, "032x")
    assert lines()[0]["span_id"] == format(context.span_id, "016x")


def test_warnings_are_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in lines()[0]["event"]


def test_chatter_is_kept_for_debugging(lines: Lines) -> None:
    logging.getLogger("httpx").info("every request")
    assert lines() == []
    logs.configure("DEBUG", lines.stream)
    logging.getLogger("httpx").info("every request")
    assert [line["event"] for line in lines()] == ["every request"]


def test_any_value_can_be_logged(lines: Lines) -> None:
    logs.logger("x").info("odd", value=object, body=b"\xff", nested={1: {"password": "p"}})
    (line,) = lines()
    assert line["value"] == "<class 'object'>"
    assert line["body"] == "1 bytes"
    assert line["nested"] == {"1": {"password": "[redacted]"}}
