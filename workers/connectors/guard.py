"""Decides which address a fetch may connect to.

A source's address is chosen by a user, so without this the platform would read its own network for them (server-side
request forgery). The name is resolved once, every answer is judged, and the connection goes to the judged number: a
second resolution could answer differently (DNS rebinding). Redirects come through here again, hop by hop.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Numbers of a host name; raises OSError."""

_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("2002::/16"))
"""IPv6 networks whose addresses carry an IPv4 address to be connected to: NAT64 (RFC 6052, 8215) and 6to4."""


class RefusedError(Exception):
    """The address must not be fetched; the message says why, without credentials."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect (`address`, a number) for `url`; `host` goes into the Host header and the TLS handshake."""

    url: httpx.URL
    host: str
    address: str

    @property
    def connect_url(self) -> httpx.URL:
        """The address with the judged number in place of the name."""
        return self.url.copy_with(host=self.address)


async def judge(url: str, resolve: Resolve, *, allow_private: bool) -> Target:
    """Return where `url` may be fetched from. Raises RefusedError, OSError if the name cannot be resolved."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise RefusedError("not an address") from error
    if parsed.scheme not in {"http", "https"}:
        raise RefusedError("only http and https are fetched")
    if parsed.userinfo:
        raise RefusedError("an address with credentials in it")
    if not parsed.host:
        raise RefusedError("an address without a host")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    numbers = [ip_address(number.partition("%")[0]) for number in await resolve(parsed.host, port)]
    if not numbers:
        raise OSError(f"{parsed.host} has no address")
    if not allow_private and not all(is_public(number) for number in numbers):
        # All and not any: one private answer among public ones is an attempt, or a split network; both are refused.
        raise RefusedError(f"{parsed.host} leads into a private network")
    return Target(parsed, parsed.netloc.decode("ascii"), str(numbers[0]))


def is_public(number: Address) -> bool:
    """Whether `number` is an address of the public internet that one host answers at."""
    if isinstance(number, IPv6Address):
        if number.ipv4_mapped is not None:
            return is_public(number.ipv4_mapped)
        if number.is_site_local or any(number in network for network in _EMBEDDING):
            return False
    return number.is_global and not number.is_multicast and not number.is_reserved


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the numbers of `host`, as the system resolves it; a number in any notation gives itself."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
