"""A TCP proxy that a test puts between two real processes and breaks while they talk."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from tests.eventually import lapse

LOOPBACK = "127.0.0.1"
_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST, as a peer that died does."""


class Way(Enum):
    """A direction of the bytes."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


BOTH = frozenset(Way)


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    spoiled: bool = False
    """Bytes of it were swallowed: what follows would be read as nonsense."""
    deaf: bool = False
    """The next bytes from the server are dropped, and the connection with them."""

    def abort(self) -> None:
        for writer in (self.client, self.server):
            found = writer.get_extra_info("socket")
            if found is not None:
                with contextlib.suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


@dataclass
class Proxy:
    """Forwards connections to `target` (a port of loopback), and spoils them as told; every switch works at once."""

    target: int
    port: int = 0
    delay_s: dict[Way, float] = field(default_factory=dict)
    """Seconds by which each piece of a direction is late."""
    swallow: frozenset[Way] = frozenset()
    """Directions whose bytes vanish while the connection stays open: a half-open connection."""
    dropped: int = 0
    """Responses dropped by `drop_next_response`."""
    _links: set[_Link] = field(default_factory=set)
    _listening: asyncio.Server | None = None
    _wanted: Callable[[bytes], bool] | None = None

    async def accept(self) -> None:
        """Take connections, on the same port as before."""
        if self._listening is None:
            self._listening = await asyncio.start_server(self._connected, LOOPBACK, self.port)
            self.port = self._listening.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Behave as a server that is not there: nobody listens, and what was connected is reset."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for link in list(self._links):
            link.abort()

    def drop_next_response(self, wanted: Callable[[bytes], bool]) -> None:
        """Let the next request that is `wanted` through, then drop its response and reset that connection.

        `wanted` sees the bytes of one write of the client, which for Kafka clients is one request.
        """
        self._wanted = wanted

    async def heal(self) -> None:
        """Forward everything again. Connections with bytes missing are reset: nobody could go on with them."""
        self.delay_s.clear()
        self.swallow = frozenset()
        self._wanted = None
        for link in list(self._links):
            if link.spoiled:
                link.abort()
        await self.accept()

    async def close(self) -> None:
        """Stop for good."""
        await self.refuse()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, reader, far_writer, Way.TO_SERVER)),
            asyncio.create_task(self._pump(link, far_reader, writer, Way.TO_CLIENT)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._links.discard(link)
            for each in (writer, far_writer):
                each.close()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_CHUNK):
                if late := self.delay_s.get(way):
                    await lapse(late)
                if way in self.swallow:
                    link.spoiled = True
                elif self._lost(link, piece, way):
                    link.abort()
                    return
                else:
                    sink.write(piece)
                    await sink.drain()

    def _lost(self, link: _Link, piece: bytes, way: Way) -> bool:
        if way is Way.TO_SERVER:
            if self._wanted is not None and self._wanted(piece):
                self._wanted = None
                link.deaf = True
            return False
        self.dropped += link.deaf
        return link.deaf


@asynccontextmanager
async def proxied(target: int, port: int = 0) -> AsyncIterator[Proxy]:
    """Run a proxy in front of loopback's port `target`."""
    proxy = Proxy(target, port)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()


def kafka_request(api: int) -> Callable[[bytes], bool]:
    """Tell requests of one kind: bytes 4 and 5 of a request are its API key (kafka.apache.org/protocol)."""
    return lambda piece: len(piece) > 6 and int.from_bytes(piece[4:6], "big") == api


PRODUCE, OFFSET_COMMIT = 0, 8
