"""Fetches a body over HTTP: only if it changed, bounded in size and time, every hop judged."""

import asyncio
import zlib
from dataclasses import dataclass, field
from urllib.parse import urljoin

import httpx
import stamina

from workers.connectors.guard import RefusedError, Resolve, Target, judge, resolve

MAX_HOPS = 5
"""Redirects followed; browsers allow 20, feeds need one or two."""
_ATTEMPTS = 3
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_RETRY_STATUS = frozenset({500, 502, 503, 504})
_PIECE = 64 * 1024


class FetchError(Exception):
    """The body could not be had; `retry_after` is the seconds that the server asked to wait, if it did."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class _PassingError(FetchError):
    """Worth another try at once."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server said of the body that we have; RFC 9110, 8.8."""

    etag: str = ""
    last_modified: str = ""

    def headers(self) -> dict[str, str]:
        """Headers of a conditional request."""
        pairs = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in pairs.items() if value}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body that is new to us."""

    body: bytes = field(repr=False)
    content_type: str
    url: str
    """Where it was at last, after redirects."""
    validators: Validators


class Fetcher:
    """Fetches for all sources; connections are not kept, since pulls of one server are minutes apart.

    Proxies of the environment are not used: a proxy would resolve the name again, past the guard.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        seconds: float,
        allow_private: bool,
        resolver: Resolve = resolve,
        agent: str = "Millrace",
    ) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._allow_private = allow_private
        self._resolver = resolver
        self._agent = agent

    async def fetch(self, url: str, validators: Validators) -> Fetched | None:
        """Return the body at `url`, None if it is unchanged. Raises FetchError."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._tried(url, validators)
        except TimeoutError as error:
            raise FetchError(f"no answer within {self._seconds:g} s") from error
        except RefusedError as error:
            raise FetchError(f"refused: {error}") from error

    async def _tried(self, url: str, validators: Validators) -> Fetched | None:
        async for attempt in stamina.retry_context(
            on=_PassingError, attempts=_ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=5
        ):
            with attempt:
                return await self._follow(url, validators)
        raise AssertionError("the last attempt returns or raises")

    async def _follow(self, url: str, validators: Validators) -> Fetched | None:
        for _ in range(MAX_HOPS + 1):
            try:
                target = await judge(url, self._resolver, allow_private=self._allow_private)
            except OSError as error:
                raise _PassingError(f"the name cannot be resolved: {type(error).__name__}") from error
            outcome = await self._hop(target, validators)
            if not isinstance(outcome, str):
                return outcome
            following = urljoin(url, outcome)
            if url.startswith("https:") and following.startswith("http:"):
                raise FetchError("refused: a redirect from https to http")
            url = following
        raise FetchError(f"more than {MAX_HOPS} redirects")

    async def _hop(self, target: Target, validators: Validators) -> Fetched | str | None:
        """Return the body, None for an unchanged one, or where a redirect leads."""
        headers = {
            "Host": target.host,
            "User-Agent": self._agent,
            "Accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.1",
            "Accept-Encoding": "gzip",
            **validators.headers(),
        }
        # The certificate is checked against the name, though the connection goes to the number.
        extensions = {"sni_hostname": target.url.host}
        try:
            async with (
                httpx.AsyncClient(trust_env=False, timeout=self._seconds, follow_redirects=False) as client,
                client.stream("GET", target.connect_url, headers=headers, extensions=extensions) as response,
            ):
                return await self._answer(response, target)
        except httpx.TransportError as error:
            raise _PassingError(f"{type(error).__name__}: {error}"[:300]) from error
        except httpx.HTTPError as error:
            raise FetchError(f"{type(error).__name__}: {error}"[:300]) from error

    async def _answer(self, response: httpx.Response, target: Target) -> Fetched | str | None:
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        if response.is_redirect:
            return str(response.headers.get("location", ""))
        if response.status_code in _RETRY_STATUS:
            raise _PassingError(f"HTTP {response.status_code}", _retry_after(response))
        if response.status_code != httpx.codes.OK:
            raise FetchError(f"HTTP {response.status_code}", _retry_after(response))
        return Fetched(
            body=await self._body(response),
            content_type=response.headers.get("content-type", "")[:200],
            url=str(target.url),
            validators=Validators(
                response.headers.get("etag", "")[:500], response.headers.get("last-modified", "")[:100]
            ),
        )

    async def _body(self, response: httpx.Response) -> bytes:
        # Raw and unpacked here: httpx would unpack a bomb whole before we could count it.
        packed = bytearray()
        async for piece in response.aiter_raw(_PIECE):
            packed += piece
            if len(packed) > self._max_bytes:
                raise FetchError(f"larger than {self._max_bytes} bytes")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in {"", "identity"}:
            return bytes(packed)
        if encoding not in {"gzip", "x-gzip", "deflate"}:
            raise FetchError(f"content encoding {encoding[:20]!r} was not asked for")
        return await asyncio.to_thread(self._unpacked, bytes(packed))

    def _unpacked(self, packed: bytes) -> bytes:
        unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            body = unpacking.decompress(packed, self._max_bytes + 1)
        except zlib.error as error:
            raise FetchError("a broken gzip body") from error
        if len(body) > self._max_bytes:
            raise FetchError(f"larger than {self._max_bytes} bytes when unpacked")
        if not unpacking.eof:
            raise FetchError("a gzip body that ends too early")
        return body


def _retry_after(response: httpx.Response) -> float | None:
    # Seconds only: the date form needs a clock that agrees with the server's.
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
