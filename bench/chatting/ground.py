"""The processes of a run: our stack as a chat needs it, the instant backend, and a LiteLLM proxy beside it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.chatting.client import Target
from infra.local.ports import choose
from infra.local.stack import Stack
from infra.postgres.keys import create_key
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings

SERVERS = ("topics", "schema", "valkey", "door")
START_S = 180.0
POLL_S = 0.2


@dataclass
class Ground:
    """What runs. `processes` are ours by name, those whose CPU time is counted."""

    processes: dict[str, int]
    backend: Target
    gateway: Target
    other: Target
    """The gateway as another workspace sees it."""
    environment: Mapping[str, str]
    """Addresses of the servers."""
    litellm: Target | None = None
    litellm_pid: int = 0

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of CPU time of each of ours, with its children, from its start on."""
        return {name: _cpu_s(pid) for name, pid in self.processes.items()}

    def litellm_cpu_s(self) -> float:
        """Return the same of the proxy."""
        return _cpu_s(self.litellm_pid)


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        # Of children that have ended, too: Postgres makes and ends them.
        total += times.user + times.system + (times.children_user + times.children_system if each is process else 0)
    return total


@asynccontextmanager
async def ground(litellm: Path | None, told: Mapping[str, str], *, apart: bool) -> AsyncIterator[Ground]:
    """Start everything in a folder of its own, and end and delete it afterwards."""
    os.environ |= {"MILLRACE_LOG_LEVEL": "WARNING"}
    os.environ.setdefault("MILLRACE_ENCODER", "hash")
    folder = Path(tempfile.mkdtemp(prefix="millrace-chat-"))
    # Open to others than root: Postgres runs as `nobody` there.
    os.chmod(folder, 0o711)  # noqa: PTH101, S103 - before anything runs; entering is not listing
    try:
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(Stack.start(folder / "home", only=set()))
            await asyncio.gather(*(servers.ensure(name) for name in SERVERS))
            started = _Started(stack, folder)
            backend = choose(set())
            await started.run("backend", (sys.executable, "-m", "bench.chatting.backend", str(backend)), backend, {})
            # No question of these needs the graph.
            graph = {"NEO4J_URI": "bolt://127.0.0.1:1", "NEO4J_PASSWORD": "unused"}
            environment = servers.environment | graph | dict(told) | {"INFERENCE_URL": f"http://127.0.0.1:{backend}"}
            found = await _ours(started, environment, backend, apart=apart)
            for name, record in servers.record.processes.items():
                if record.pid is not None and name in {"kafka", "postgres", "valkey", "door"}:
                    found.processes[name] = record.pid
            if litellm is not None:
                await _litellm(started, found, litellm, backend)
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Started:
    """Starts processes that end with the run."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    def file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    async def run(self, name: str, command: Sequence[str], port: int, told: Mapping[str, str], path: str = "") -> int:
        """Start a process and wait until it listens on `port`, or until `path` is answered there with 200."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time, and the command is ours
                command, env=os.environ | dict(told), stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        self._stack.callback(_end, process)
        for _ in range(round(START_S / POLL_S)):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {log.read_text()[-2_000:]}")
            if await _answers(port, path):
                return process.pid
            await asyncio.sleep(POLL_S)
        raise RuntimeError(f"{name} is not up after {START_S:g} s: {log.read_text()[-2_000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _answers(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        if not path:
            return True
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        return (await reader.read(12)).endswith(b"200")
    except OSError:
        return False
    finally:
        writer.close()


async def _ours(started: _Started, environment: Mapping[str, str], backend: int, *, apart: bool) -> Ground:
    processes = {}
    # The embedder registers the index that questions with retrieval read.
    for workers in (("embedder", "retriever"), ("inference",)) if apart else (("embedder", "retriever", "inference"),):
        name, port = "+".join(workers), choose(set())
        told = dict(environment) | {"MILLRACE_METRICS_PORT": str(port), "MILLRACE_METRICS_HOST": "127.0.0.1"}
        command = (sys.executable, "-m", "workers.host", *workers)
        processes[name] = await started.run(name, command, port, told, "/health/ready")
    port = choose(set())
    told = dict(environment) | {"MILLRACE_GATEWAY_PORT": str(port), "MILLRACE_GATEWAY_HOST": "127.0.0.1"}
    processes["gateway"] = await started.run("gateway", (sys.executable, "-m", "gateway"), port, told, "/health/ready")
    async with open_pool(PostgresSettings.model_validate(dict(environment))) as pool:
        keys = [(await create_key(pool, workspace, "bench")).key for workspace in ("bench", "bench-other")]
    bare = {"millrace": {"retrieve": False}}
    ours = [Target("millrace", port, key, bare | {"model": "millrace"}) for key in keys]
    return Ground(processes, Target("backend", backend), ours[0], ours[1], environment)


async def _litellm(started: _Started, found: Ground, program: Path, backend: int) -> None:
    port = choose(set())
    model = {"model": "openai/instant", "api_base": f"http://127.0.0.1:{backend}/v1", "api_key": "none"}
    config = started.file(
        "litellm.yaml",
        "model_list:\n  - model_name: instant\n    litellm_params:\n"
        + "".join(f"      {name}: {value}\n" for name, value in model.items()),
    )
    command = (
        str(program),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--telemetry",
        "False",
    )
    told = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    found.litellm_pid = await started.run("litellm", command, port, told, "/health/liveliness")
    found.litellm = Target("litellm", port, "none")
