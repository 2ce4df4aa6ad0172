"""How model servers and Qdrant are spoken to: httpx in front, aiohttp's connections behind (decision 0017).

httpx with its own connections takes 1.7 ms of CPU time for a streamed answer at twenty at once, with these 0.3 ms.
"""

from functools import partial
from urllib.request import getproxies

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from infra.telemetry.tracing import instrument_transport

KEPT_S = 4.0
"""How long an idle connection is kept: less than servers do (uvicorn, of vLLM and others, and actix, of Qdrant: 5 s),
or a request would meet one that is being closed."""


class _Translating(AiohttpTransport):
    """Turns what the library leaves as aiohttp's own error into httpx's, such as an answer that is no HTTP."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises httpx.TransportError."""
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectTimeout as error:
            # The library calls every failed connection that, a refused one and an unknown name too.
            if isinstance(error.__cause__, aiohttp.ClientConnectorError):
                raise httpx.ConnectError(str(error), request=request) from error
            raise
        except aiohttp.ClientError as error:
            raise httpx.RemoteProtocolError(type(error).__name__, request=request) from error
        except TimeoutError as error:
            raise httpx.ConnectTimeout(type(error).__name__, request=request) from error


def transport(most: int = 0) -> httpx.AsyncBaseTransport | None:
    """Return a transport of at most `most` connections at once; 0 bounds nothing, for callers that have slots.

    None, which leaves it to httpx, where the environment names proxies: aiohttp looks for them again at each request,
    in a thread.
    """
    if getproxies():
        return None
    return instrument_transport(_Translating(client=partial(_session, most)))


def _session(most: int) -> aiohttp.ClientSession:
    # Connects nothing yet; called within the loop that will use it.
    connector = aiohttp.TCPConnector(limit=most, keepalive_timeout=KEPT_S, ssl=httpx.create_ssl_context())
    # No cookies: what one asker's answer set must not go along with another one's question.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
