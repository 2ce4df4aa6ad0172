"""The transport to model servers and Qdrant, against sockets that behave badly: only httpx's errors come out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from infra.transport import transport
from tests.eventually import lapse

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking_to(behave: Behaviour, most: int = 0) -> AsyncIterator[httpx.AsyncClient]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await behave(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, transport=transport(most)) as client:
        yield client
    server.close()
    await server.wait_closed()


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    await writer.drain()


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it")
    await writer.drain()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("behave", [no_http, nothing, half, silence])
async def test_whatever_goes_wrong_is_an_error_of_httpx(behave: Behaviour) -> None:
    async with talking_to(behave) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/", timeout=0.3)


async def test_nobody_there_is_an_error_of_httpx() -> None:
    async with httpx.AsyncClient(transport=transport()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_proxies_of_the_environment_are_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport() is not None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert transport() is None


async def test_no_cookie_of_one_answer_goes_along_with_another_question() -> None:
    heard = []

    async def with_a_cookie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: who=acme\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
            heard.append(await reader.readuntil(b"\r\n\r\n"))

    async with talking_to(with_a_cookie) as client:
        assert (await client.get("/")).text == "ok"
        client.cookies.clear()
        assert (await client.get("/")).text == "ok"
    assert b"cookie" not in heard[0].lower()


async def test_no_more_connections_are_open_at_once_than_told() -> None:
    open_now, most, full = 0, 0, asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 2:
            full.set()
        await full.wait()
        # A head start for a third one, which must not come.
        await lapse(0.02)
        open_now -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    async with talking_to(slowly, most=2) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(6)))
    assert [answer.text for answer in answers] == ["ok"] * 6
    assert most == 2
