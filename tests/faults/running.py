"""Processes of Millrace under test: worker hosts and gateways, started against given addresses, and ended roughly."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from infra.local import processes
from infra.local.ports import choose
from infra.local.program import LOOPBACK, Program
from tests.eventually import eventually

Environment = dict[str, str]
CLEAN_STOP_S = 30
"""The promise: a stop is over by then, whatever is away."""
READY_S = 60


@dataclass
class Running:
    """A process that serves /health and /metrics on `port`."""

    child: processes.Child
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def lives(self) -> bool:
        return self.child.lives()

    @property
    def resident_bytes(self) -> int:
        return psutil.Process(self.child.pid).memory_info().rss

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    async def kill(self) -> None:
        """SIGKILL."""
        await processes.stop(self.child, signal.SIGKILL, 10)

    async def terminate(self, within: float = CLEAN_STOP_S) -> float:
        """SIGTERM; return the seconds until it ended, having failed if that was not by itself, in time, with 0."""
        started = monotonic()
        clean = await processes.stop(self.child, signal.SIGTERM, within)
        took = monotonic() - started
        assert clean, f"not stopped after {took:.0f} s: {self.said()[-3_000:]}"
        assert self.child.popen is not None
        assert self.child.popen.returncode == 0, self.said()[-3_000:]
        return took

    def freeze(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    async def health(self, probe: str = "ready", within: float = 20) -> tuple[int, Any]:
        """Return status and body of a probe; status 0 where there was no answer in time."""
        async with httpx.AsyncClient(timeout=within) as client:
            try:
                answer = await client.get(f"{self.url}/health/{probe}")
            except httpx.TransportError:
                return 0, None
            return answer.status_code, answer.json()

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels; `name` without the prefix `millrace_`."""
        async with httpx.AsyncClient(timeout=60) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"millrace_{name}" and labels.items() <= sample.labels.items()
        )

    async def ready(self, within: float = READY_S) -> None:
        async def answers() -> bool:
            assert self.lives, self.said()[-3_000:]
            return (await self.health())[0] == 200

        try:
            await eventually(answers, within=within, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{await self.health()}: {self.said()[-3_000:]}") from error


def launch(command: tuple[str, ...], environment: Mapping[str, str], log: Path, port: int) -> Running:
    async def unused() -> None:
        """The caller waits."""

    program = Program(command[-1], (sys.executable, "-m", *command), unused)
    return Running(processes.spawn(program, os.environ | dict(environment), log, tied=True), port, log)


def host(environment: Mapping[str, str], folder: Path, *workers: str) -> Running:
    """Start a process that hosts `workers`; it may not be ready yet."""
    port = choose(set())
    told = {"MILLRACE_METRICS_PORT": str(port), "MILLRACE_METRICS_HOST": LOOPBACK}
    log = folder / f"host-{uuid4().hex[:8]}.log"
    return launch(("workers.host", *workers), dict(environment) | told, log, port)


def gateway(environment: Mapping[str, str], folder: Path) -> Running:
    """Start a gateway; it may not be ready yet."""
    port = choose(set())
    told = {"MILLRACE_GATEWAY_PORT": str(port), "MILLRACE_GATEWAY_HOST": LOOPBACK}
    return launch(("gateway",), dict(environment) | told, folder / f"gateway-{uuid4().hex[:8]}.log", port)


@asynccontextmanager
async def ending(*running: Running) -> AsyncIterator[None]:
    """Kill the processes at the end, whatever state the test left them in."""
    try:
        yield
    finally:
        for process in running:
            await process.kill()


@asynccontextmanager
async def hosting(environment: Mapping[str, str], folder: Path, *workers: str) -> AsyncIterator[Running]:
    """Run a host of `workers`, ready; killed at the end unless it was stopped."""
    started = host(environment, folder, *workers)
    async with ending(started):
        await started.ready()
        yield started
