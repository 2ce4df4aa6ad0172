"""What counts as an answer, against servers on loopback that say what a test wants them to."""

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from infra.local import http
from infra.local.program import NotReady
from infra.local.servers import kafka, valkey
from infra.local.servers.neo4j import credentials

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Answer each chunk that comes in by `answer`; an empty one closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if not (said := answer(chunk)):
                break
            writer.write(said)
            await writer.drain()
            if said.startswith(b"HTTP"):
                break
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def framed(body: bytes) -> bytes:
    return struct.pack(">ii", len(body) + 4, 1) + body


def broker(error: int, brokers: int) -> Callable[[bytes], bytes]:
    def answer(request: bytes) -> bytes:
        (api,) = struct.unpack(">h", request[4:6])
        return framed(struct.pack(">h", error) if api == kafka.API_VERSIONS else struct.pack(">i", brokers))

    return answer


async def test_a_broker_that_is_registered_is_ready() -> None:
    async with server(broker(0, 1)) as port:
        await kafka.answers("127.0.0.1", port)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(broker(0, 0), "not registered"), (broker(35, 1), "refused"), (lambda request: b"", "closed")],
)
async def test_a_broker_that_is_not_is_not(answer: Callable[[bytes], bytes], said: str) -> None:
    async with server(answer) as port:
        with pytest.raises(NotReady, match=said):
            await kafka.answers("127.0.0.1", port)


async def test_valkey_must_accept_the_password() -> None:
    def answer(request: bytes) -> bytes:
        if b"AUTH" in request:
            return b"+OK\r\n" if b"\r\nsecret\r\n" in request else b"-WRONGPASS\r\n"
        return b"+PONG\r\n"

    async with server(answer) as port:
        await valkey.answers("127.0.0.1", port, "secret")
        with pytest.raises(NotReady, match="WRONGPASS"):
            await valkey.answers("127.0.0.1", port, "other")


async def test_http_must_say_200() -> None:
    def answer(request: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\n\r\n{}" if b"api-key: k" in request else b"HTTP/1.1 401 No\r\n\r\nkey?"

    async with server(answer) as port:
        await http.answers("127.0.0.1", port, "/collections", {"api-key": "k"})
        with pytest.raises(NotReady, match=r"/collections answers 401: key\?"):
            await http.answers("127.0.0.1", port, "/collections")


async def test_http_without_an_answer_is_not_ready() -> None:
    async with server(lambda request: b"") as port:
        with pytest.raises(NotReady, match="closed"):
            await http.answers("127.0.0.1", port, "/")


async def test_a_closed_port_is_an_os_error(unused_tcp_port_factory: Callable[[], int]) -> None:
    with pytest.raises(OSError, match=r"refused|Connect"):
        await http.answers("127.0.0.1", unused_tcp_port_factory(), "/")


def test_the_password_line_is_the_one_that_neo4j_writes() -> None:
    # Written by `neo4j-admin dbms set-initial-password abcdefgh1` of 5.26.12.
    salt = bytes.fromhex("af589fff89e4649f1e2aa41e36516441bc7ab3e5f01a6b5225a00001e0d04737")
    digest = "26ba2c746d55e24c4ffecfaab5d3cc726ce91a42b23187b5e8a8aa9e2e4e6c45"
    assert credentials("abcdefgh1", salt) == f"neo4j:SHA-256,{digest},{salt.hex()},1024:\n"
    assert hashlib.sha256(salt + b"abcdefgh1").hexdigest() != digest
