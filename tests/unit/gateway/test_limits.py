"""What is refused for its size is told so on the wire: the answer must not be lost with the connection."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.unit.gateway.conftest import KEY, assert_problem
from tests.unit.gateway.serving import caller

HUGE = b"x" * 20_000_000


async def in_parts() -> AsyncIterator[bytes]:
    for at in range(0, len(HUGE), 1_000_000):
        yield HUGE[at : at + 1_000_000]


@pytest.mark.parametrize("chunked", [False, True])
async def test_who_sends_everything_first_still_reads_the_answer(url: str, chunked: bool) -> None:
    headers = {"content-type": "application/json"}
    async with caller(url) as client:
        for _ in range(5):
            content = in_parts() if chunked else HUGE
            response = await client.post("/v1/search", content=content, headers=headers)
            assert_problem(response, 413, "payload_too_large")
            assert response.headers["connection"] == "close"


async def test_who_waits_for_a_word_first_has_it_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.middleware.SILENCE_S", 0.1)
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST /v1/search HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 99999999\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        # Silence ends the connection.
        assert b"payload_too_large" in await reader.read()
    writer.close()


async def sent_until_cut_off(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 100_000)
        await writer.drain()


async def test_what_is_dropped_has_a_bound(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.middleware.DROPPED_BYTES", 1_000_000)
    place = urlsplit(url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST /v1/search HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 99999999999\r\n\r\n"
    writer.write(head.encode())
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sent_until_cut_off(writer), 60)
    writer.close()
