"""Chats under faults: readers that leave, and readers that fall asleep."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest

from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.chats import Chat, chatting, idle, question, said
from tests.faults.conftest import Kept
from tests.faults.running import Running
from tests.faults.test_gateway import tenant_of
from tests.flow.tenant import Tenant
from tests.unit.gateway.serving import Event, events


@pytest.mark.fault(39)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_client_that_hangs_up_frees_its_slot(arena: Arena, kept_mill: Kept, workspace: str) -> None:
    told = {"INFERENCE_CONCURRENCY": "1", "MILLRACE_ANSWER_TIMEOUT_S": "60"}
    async with chatting(arena, kept_mill, **told) as chat:
        tenant = await tenant_of(arena, chat.door, workspace)
        completion = {"model": "millrace", "millrace": {"retrieve": False}}
        freed = []
        async with tenant.client:
            assert await said(tenant, "Warm?")
            for number, (path, body) in enumerate(
                [
                    ("/v1/chat", question("one", stream=False)),
                    ("/v1/chat", question("two", stream=True)),
                    ("/v1/chat/completions", completion | asked("three") | {"stream": True}),
                    ("/v1/chat/completions", completion | asked("four")),
                ]
            ):
                chat.writer.let.clear()
                async with Socket(chat.door, tenant) as client:
                    await client.post(path, body)
                    await eventually(lambda: chat.writer.at_work == 1, within=20, every=0.01)
                left_at = monotonic()
                await eventually(lambda: chat.writer.at_work == 0, within=20, every=0.01)
                freed.append(monotonic() - left_at)
                chat.writer.let.set()
                # The only slot is free: the next question is answered, and nobody is at work besides.
                assert await said(tenant, f"Free {number}?") == chat.writer.answer(f"Free {number}?")
    print("slot freed after", [f"{seconds * 1000:.0f} ms" for seconds in freed])  # noqa: T201 - a measurement


def asked(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


class Socket:
    """A client that reads only what it is told to, over a connection that is simply closed at the end."""

    def __init__(self, door: Running, tenant: Tenant, buffer: int | None = None) -> None:
        self._address = urlsplit(door.url)
        self._key = tenant.client.headers["authorization"]
        self._socket = socket.socket()
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> "Socket":
        await self._loop.sock_connect(self._socket, (self._address.hostname, self._address.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def post(self, path: str, body: dict[str, object]) -> None:
        """Send a request and read nothing."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self._address.netloc}\r\nauthorization: {self._key}\r\n"
        head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
        await self._loop.sock_sendall(self._socket, head.encode() + content)

    async def rest(self) -> bytes:
        """Read all that comes."""
        found = bytearray()
        while piece := await self._loop.sock_recv(self._socket, 65_536):
            found += piece
        return bytes(found)


# Readers that fall asleep --------------------------------------------------------------------------------------------

ASLEEP = 8
PIECE = "The wheel turns, and the flour falls. "
LONG = tuple(f"{number} {PIECE * 150}" for number in range(600))
"""An answer of 3.4 MB, and its stream of more than twice that: more than Linux keeps for a connection (4 MiB)."""


@pytest.mark.fault(41)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_readers_that_stop_reading_cost_bounded_memory_and_nobody_else_time(
    arena: Arena, kept_mill: Kept, workspace: str, calm: str
) -> None:
    async with chatting(arena, kept_mill, MILLRACE_ANSWER_TIMEOUT_S="180") as chat:
        sleepy, awake = await tenant_of(arena, chat.door, workspace), await tenant_of(arena, chat.door, calm)
        async with awake.client, sleepy.client, AsyncExitStack() as asleep:
            alone_s = await quickest(awake)
            before = chat.door.resident_bytes
            chat.writer.pieces = LONG
            sleepers = [
                await asleep.enter_async_context(Socket(chat.door, sleepy, buffer=4_096)) for _ in range(ASLEEP)
            ]
            for number, sleeper in enumerate(sleepers):
                await sleeper.post("/v1/chat", question(f"Sleeper {number}?", stream=True))
            # The workers do not wait for them.
            await eventually(lambda: all_written(chat), within=120, every=0.2)
            chat.writer.pieces = ("It is ",)
            assert await chat.door.metric("streams_open") == ASLEEP, "their answers went out: nobody is asleep"
            # Each holds its answer (as it came, as it is told, and whole in the final reply), whatever it has read.
            assert chat.door.resident_bytes - before < ASLEEP * 5 * len("".join(LONG)) + 30_000_000
            beside_s = await quickest(awake)
            settled = chat.door.resident_bytes
            print(f"answered in {alone_s:.2f} s alone, {beside_s:.2f} s beside the sleepers")  # noqa: T201
            await quickest(awake)
            assert chat.door.resident_bytes < settled + 10_000_000
            told = await asyncio.gather(*(sleeper.rest() for sleeper in sleepers))
            for number in range(ASLEEP):
                assert f"Sleeper {number}?" == (await joined(told[number]))[len("".join(LONG)) :]


async def all_written(chat: Chat) -> bool:
    sleepers = [text for text in chat.writer.asked if text.startswith("Sleeper")]
    return len(sleepers) == ASLEEP and chat.writer.at_work == 0 and await idle(chat)


async def quickest(tenant: Tenant) -> float:
    """Return the time of the quickest of three questions."""
    took = []
    for number in range(3):
        began = monotonic()
        await said(tenant, f"Awake {number}?")
        took.append(monotonic() - began)
    return min(took)


async def joined(response: bytes) -> str:
    """Return the text that a raw, chunked response tells in events."""
    head, _, content = response.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    body = bytearray()
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        body += content[:length]
        content = content[length + 2 :]
    found: list[Event] = [each async for each in events(httpx.Response(200, content=bytes(body)))]
    assert found[-1].name == "final"
    text = "".join(each.data["text"] for each in found if each.name == "delta")
    assert text == found[-1].data["answer"]
    return text
