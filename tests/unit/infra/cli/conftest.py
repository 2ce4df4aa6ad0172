"""The command line as a user runs it, against a gateway of the test's own that speaks real HTTP."""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app

KEY = "mr_1f2e3d4c5b6a_" + "a" * 64
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Asked:
    """One request as the gateway got it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


@dataclass
class Door:
    """Answers by method and path; a list is answered one after the other, its last again and again."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, method: str, path: str, *answers: Answer) -> None:
        """Set what `method path` answers."""
        self.answers[f"{method} {path}"] = list(answers)

    def of(self, method: str, path: str) -> list[Asked]:
        """Return what was asked of `method path`."""
        return [each for each in self.asked if (each.method, each.path) == (method, path)]

    def next(self, asked: Asked) -> Answer:
        """Return the answer to a request, 404 where none is set."""
        self.asked.append(asked)
        answers = self.answers.get(f"{asked.method} {asked.path}")
        if not answers:
            return 404, {"code": "not_found", "detail": f"no {asked.path}"}
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def door() -> Iterator[Door]:
    """A gateway in a thread of its own."""
    made = Door()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content, *more = made.next(Asked(self.command, parts.path, parts.query, headers, body))
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = _any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a client that hangs up; its traceback would stand among what the command prints."""
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


class Millrace:
    """Runs `millrace …`; the command's own event loop needs a thread without one."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    async def __call__(self, *arguments: str) -> Result:
        """Run a command and return what came of it."""
        return await asyncio.to_thread(self._runner.invoke, app, list(arguments))


@pytest.fixture
def millrace(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Millrace:
    """The command line, pointed at `door` and at an empty state folder."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_GATEWAY_URL", door.url)
    monkeypatch.setenv("MILLRACE_API_KEY", KEY)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN"):
        monkeypatch.delenv(name, raising=False)
    return Millrace()
