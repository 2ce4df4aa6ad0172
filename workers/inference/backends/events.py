"""Reads the events of a streamed answer.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), of which model servers use `data:`
lines and comments alone. A line has a bound here, which the known readers do not have: a server gone wild would fill
the memory until the deadline.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from infra.errors import Transient

LONGEST_LINE = 1024 * 1024
DONE = b"[DONE]"


async def data_lines(
    chunks: AsyncIterator[bytes], dependency: str, first_s: float, silence_s: float
) -> AsyncGenerator[bytes, None]:
    """Yield what stands after `data:` of each line, and b"" for each other sign of life.

    Raises Transient if nothing comes for `first_s` seconds at the start, nothing at all for `silence_s` seconds after
    it, or a line is longer than `LONGEST_LINE` bytes.
    """
    held = b""
    patience = first_s
    while True:
        try:
            async with asyncio.timeout(patience):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise Transient(dependency, f"silent for {patience:g} s within an answer") from error
        if chunk is None:
            return
        patience = silence_s
        *lines, held = (held + chunk).split(b"\n")
        if len(held) > LONGEST_LINE:
            raise Transient(dependency, "a line without an end")
        for line in lines:
            yield line[5:].strip() if line.startswith(b"data:") else b""
