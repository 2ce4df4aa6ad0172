"""One HTTP request on loopback, for readiness: a client library would cost the supervisor 20 MB for its whole life."""

import asyncio
from collections.abc import Mapping

from infra.local.program import NotReady

OK = 200
SECONDS = 10
LIMIT = 64 * 1024


async def get(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body of a GET that closes its connection. Raises OSError, NotReady, TimeoutError."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            lines = {"Host": f"{host}:{port}", "Connection": "close", "Accept": "application/json", **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            await writer.drain()
            answer = await reader.read(LIMIT)
            while part := await reader.read(LIMIT):
                answer += part
        finally:
            writer.close()
    status, _, _ = answer.partition(b"\r\n")
    words = status.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 - version and status
        raise NotReady("closed the connection without an answer")
    return int(words[1]), answer.partition(b"\r\n\r\n")[2]


async def answers(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> None:
    """Raise NotReady, with the beginning of what it said, unless a GET of `path` is answered 200."""
    status, body = await get(host, port, path, headers)
    if status != OK:
        raise NotReady(f"{path} answers {status}: {body.decode(errors='replace').strip()[:200]}")
