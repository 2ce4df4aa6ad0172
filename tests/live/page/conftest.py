"""The page in a real browser, in front of the application with replies made by the test."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast
from uuid import UUID

import pytest
from playwright.async_api import Browser, Page, Route

from gateway.settings import GatewaySettings
from tests.browsing import browsing, paging, sign_in
from tests.faults.proxy import Proxy, proxied
from tests.unit.gateway.conftest import KEY, Door, door  # noqa: F401 - a fixture
from tests.unit.gateway.serving import serving


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        yield opened


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(keepalive_s=0.5, return_grace_s=30, max_upload_bytes=1 << 20)


class NoRows:
    """A database in which nothing has been archived yet."""

    async def fetch(self, *_: object) -> list[Any]:
        return []

    async def fetchrow(self, *_: object) -> None:
        return None

    async def fetchval(self, *_: object) -> None:
        return None


@pytest.fixture
async def wire(door: Door) -> AsyncIterator[Proxy]:  # noqa: F811
    """Between browser and gateway."""
    door.connections.pool = cast(Any, NoRows())
    async with serving(door.app) as url, proxied(int(url.rpartition(":")[2])) as proxy:
        yield proxy


class Documents:
    """Stands in for the database that the application has none of here: what the ledger would hold."""

    def __init__(self) -> None:
        self.texts: dict[UUID, dict[str, Any]] = {}

    async def listed(self, route: Route) -> None:
        await route.fulfill(json={"documents": [], "next": None})

    async def one(self, route: Route) -> None:
        found = self.texts.get(UUID(route.request.url.rpartition("/")[2]))
        if found is None:
            await route.fulfill(status=404, json={"code": "document_not_found", "detail": "gone", "status": 404})
        else:
            await route.fulfill(json=found)


async def not_there(route: Route) -> None:
    """Answer as a gateway without conversations does."""
    await route.fulfill(status=404, json={"code": "not_found", "detail": "There is nothing at this path."})


@pytest.fixture
def documents() -> Documents:
    return Documents()


class Opened(Protocol):
    """Opens the page with options of a browser's context, with nobody signed in."""

    def __call__(self, **options: Any) -> AbstractAsyncContextManager[Page]:
        """Open the page."""


@pytest.fixture
def opened(browser: Browser, wire: Proxy, documents: Documents) -> Opened:
    @asynccontextmanager
    async def opening(**options: Any) -> AsyncIterator[Page]:
        async with paging(browser, f"http://127.0.0.1:{wire.port}/", **options) as page:
            await page.route("**/v1/documents?*", documents.listed)
            await page.route("**/v1/documents/*", documents.one)
            await page.route("**/v1/conversations**", not_there)
            yield page

    return opening


@pytest.fixture
async def entry(opened: Opened) -> AsyncIterator[Page]:
    """The page, with nobody signed in."""
    async with opened() as page:
        yield page


@pytest.fixture
async def page(entry: Page) -> Page:
    """The page, signed in."""
    await sign_in(entry, KEY)
    return entry
