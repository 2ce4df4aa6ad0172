"""The fetcher against a real server on loopback."""

from collections.abc import Sequence

import pytest

from tests.live.workers.connectors.site import FEED, Site
from workers.connectors.fetch import Fetched, Fetcher, FetchError, Validators

NONE = Validators()


def fetcher(**changes: object) -> Fetcher:
    options: dict[str, object] = {"max_bytes": 100_000, "seconds": 5.0, "allow_private": True}
    return Fetcher(**{**options, **changes})  # type: ignore[arg-type]


async def fault(url: str, **changes: object) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher(**changes).fetch(url, NONE)
    return caught.value


async def got(url: str, validators: Validators = NONE) -> Fetched:
    found = await fetcher().fetch(url, validators)
    assert found is not None
    return found


async def test_a_body_with_its_validators(site: Site) -> None:
    found = await got(site.url())
    assert found.body == FEED
    assert found.content_type == "application/rss+xml"
    assert found.validators == Validators('"v1"', "Wed, 01 May 2024 10:00:00 GMT")
    assert await fetcher().fetch(site.url(), found.validators) is None
    assert site.requests[-1]["if-none-match"] == '"v1"'
    assert site.requests[-1]["host"] == f"127.0.0.1:{site.port}"


async def test_packed_bodies(site: Site) -> None:
    assert (await got(site.url("/packed"))).body == FEED
    assert "ends too early" in (await fault(site.url("/broken"))).detail
    assert "not asked for" in (await fault(site.url("/odd"))).detail
    assert "unpacked" in (await fault(site.url("/bomb"))).detail


async def test_endless_and_slow_bodies(site: Site) -> None:
    assert "larger than" in (await fault(site.url("/endless"))).detail
    assert "no answer within" in (await fault(site.url("/slow"), seconds=0.3)).detail


async def test_redirects_are_followed_and_bounded(site: Site) -> None:
    found = await got(site.url(f"/away?to={site.url()}"))
    assert found.url == site.url()
    assert (await got(site.url("/away?to=/feed.xml"))).body == FEED
    loop = site.url("/away?to=/away%3Fto%3D")
    assert "refused" in (await fault(site.url("/away?to=file:///etc/passwd"))).detail
    assert (await fault(loop)).detail


async def test_names_that_lead_into_the_own_network_are_refused(site: Site) -> None:
    asked: list[str] = []

    async def resolving(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    assert "private network" in (await fault(site.url(), allow_private=False)).detail
    assert (
        "private network"
        in (await fault("http://feeds.example/feed.xml", allow_private=False, resolver=resolving)).detail
    )
    assert asked == ["feeds.example"], "resolved once"
    assert not site.requests, "and never connected to"


async def test_the_connection_goes_to_the_judged_number(site: Site) -> None:
    answers = [["127.0.0.1"], ["192.0.2.1"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    found = await fetcher(resolver=rebinding).fetch(f"http://feeds.example:{site.port}/feed.xml", NONE)
    assert found is not None
    assert found.body == FEED
    assert site.requests[-1]["host"] == f"feeds.example:{site.port}"
    assert len(answers) == 1, "nobody resolved the name again"


async def test_a_passing_failure_is_tried_again(site: Site) -> None:
    site.statuses = [503, 502]
    assert (await got(site.url())).body == FEED
    site.statuses = [500] * 10
    site.retry_after = "77"
    failed = await fault(site.url())
    assert (failed.detail, failed.retry_after) == ("HTTP 500", 77.0)
    assert len(site.statuses) == 7, "three tries"


async def test_a_lasting_failure_is_not(site: Site) -> None:
    site.statuses = [404, 410]
    assert (await fault(site.url())).detail == "HTTP 404"
    assert len(site.statuses) == 1
    assert "Connect" in (await fault("http://127.0.0.1:9/feed.xml")).detail
