from collections.abc import Sequence
from ipaddress import ip_address

import httpx
import pytest

from workers.connectors.guard import RefusedError, Resolve, is_public, judge, resolve


def answering(*numbers: str) -> Resolve:
    async def answer(host: str, port: int) -> Sequence[str]:
        return numbers

    return answer


@pytest.mark.parametrize(
    "number",
    ["127.0.0.1", "127.9.9.9", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
     "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "::127.0.0.1", "fec0::1"],
)  # fmt: skip
async def test_inner_addresses_are_refused(number: str) -> None:
    assert not is_public(ip_address(number))
    with pytest.raises(RefusedError):
        await judge("https://feeds.example/", answering(number), allow_private=False)
    with pytest.raises(RefusedError):
        await judge("https://feeds.example/", answering("93.184.215.14", number), allow_private=False)
    target = await judge("https://feeds.example/", answering(number), allow_private=True)
    assert target.address


@pytest.mark.parametrize(
    "number", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"]
)
async def test_public_addresses_pass(number: str) -> None:
    target = await judge("https://feeds.example:8443/a?b=c", answering(number), allow_private=False)
    assert target.host == "feeds.example:8443"
    assert target.connect_url.path == "/a"
    assert target.connect_url.port == 8443
    assert ip_address(target.connect_url.host) == ip_address(number)
    assert httpx.Request("GET", target.connect_url, headers={"Host": target.host}).headers["host"] == target.host


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a.example/", "gopher://a.example/", "//a.example", "a.example", "", "http://",
     "https://user:secret@a.example/", "http://[::1", "https:///path", "javascript:alert(1)"],
)  # fmt: skip
async def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await judge(url, answering("8.8.8.8"), allow_private=True)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "[::ffff:7f00:1]", "127.0.0.1."]
)
async def test_every_notation_of_loopback_is_refused_as_the_system_reads_it(host: str) -> None:
    with pytest.raises((RefusedError, OSError)):
        await judge(f"http://{host}/", resolve, allow_private=False)


async def test_a_name_without_an_answer() -> None:
    with pytest.raises(OSError, match="no address"):
        await judge("http://a.example/", answering(), allow_private=False)
