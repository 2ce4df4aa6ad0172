"""A vector door of a test's own: started as an operator would, killed as a machine would."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from pydantic import SecretStr

from infra.settings import QdrantSettings
from tests.eventually import eventually

KEY = "door-key-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Door:
    """One root folder and port; the process behind them comes and goes."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        self.port = free_port()
        self.log = root.with_suffix(".log")
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> QdrantSettings:
        return QdrantSettings(url=self.url, api_key=SecretStr(KEY), timeout_s=20)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "MILLRACE_DOOR_ROOT": str(self.root),
            "MILLRACE_DOOR_PORT": str(self.port),
            "QDRANT_API_KEY": KEY,
            **self._environment,
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "infra.qdrant.door"], env=environment, stdout=log, stderr=log
            )

    async def start(self) -> None:
        self._process = self.spawn()
        answered: bool = await eventually(self._answers, within=20, every=0.02)
        assert answered

    async def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the door ended: {self.log.read_text()[-2000:]}")
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{self.url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait, 10)
