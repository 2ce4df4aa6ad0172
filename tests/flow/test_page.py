"""The chat page in front of everything that is real: from a pasted key to a rated, cited answer.

Pictures are taken on the way: into the folder that `MILLRACE_SCREENSHOTS` names (`make screenshots`), else away.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from infra.local.state import GATEWAY
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from tests.browsing import PHONE, browsing, paging, sign_in, violations
from tests.conftest import REPOSITORY, Environment
from tests.eventually import eventually
from tests.flow.tenant import Tenant

DOCUMENTS = REPOSITORY / "tests" / "data" / "documents"
FILES = [DOCUMENTS / "mill-handbook.md", DOCUMENTS / "safety-notes.txt", DOCUMENTS / "visitor-guide.html"]
QUESTION = "At which gauge height does the mill not run?"
EARLIER = "Which bus stops at the weir?"
SLOW_MS = 60_000


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    given = os.environ.get("MILLRACE_SCREENSHOTS")
    return REPOSITORY / given if given else tmp_path


def key_of(tenant: Tenant) -> str:
    return str(tenant.client.headers["authorization"]).removeprefix("Bearer ")


async def ask(page: Page, question: str) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")


async def pictured(page: Page, folder: Path, name: str) -> None:
    """Take the picture in both schemes."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await page.screenshot(path=folder / f"{name}-{scheme}.png", animations="disabled", caret="hide")
    await page.emulate_media(color_scheme="light")


async def test_from_a_pasted_key_to_a_rated_answer_with_its_source(
    tenant: Tenant, addresses: Environment, browser: Browser, pictures: Path
) -> None:
    async with paging(browser, addresses[GATEWAY] + "/") as page:
        await page.get_by_label("API key").wait_for()
        await page.screenshot(path=pictures / "page-sign-in.png", animations="disabled", caret="hide")
        await sign_in(page, key_of(tenant))
        await expect(page.locator("#empty")).to_be_visible()
        await page.locator("#files").set_input_files(FILES)
        states = page.locator("#upload-list .state")
        await expect(states).to_have_text(["Ready to be asked about"] * len(FILES), timeout=SLOW_MS)
        for file in FILES:
            await page.get_by_role("button", name=f"Hide {file.name}").click()
        cite = page.locator(".answer .cite").first
        await ask(page, EARLIER)
        await expect(cite).to_be_visible(timeout=SLOW_MS)
        await page.get_by_role("button", name="New conversation").click()
        await ask(page, QUESTION)
        await expect(cite).to_be_visible(timeout=SLOW_MS)
        await expect(page.locator("#list .name")).to_have_text([QUESTION, EARLIER], timeout=SLOW_MS)
        request = await rated(page)
        await eventually(lambda: kept(addresses, request, "up"), within=30)
        await cite.click()
        quoted = await page.locator("mark").text_content()
        assert quoted
        assert quoted in (DOCUMENTS / "mill-handbook.md").read_text(encoding="utf-8")
        await expect(page.locator("mark")).to_be_in_viewport()
        await pictured(page, pictures, "page-desktop")
        assert await violations(page) == []
        await page.get_by_role("button", name="Ask again").click()
        await expect(page.locator(".turn").nth(1).locator(".cite").first).to_be_visible(timeout=SLOW_MS)


async def rated(page: Page) -> str:
    """Press thumbs up; return the request that was rated."""
    async with page.expect_response("**/v1/feedback") as responding:
        await page.get_by_role("button", name="Good answer").click()
    response = await responding.value
    assert response.status == 202
    body: dict[str, Any] = response.request.post_data_json
    return str(body["request_id"])


async def kept(addresses: Environment, request: str, rating: str) -> bool:
    """Say whether the archive has the rating."""
    settings = PostgresSettings.model_validate({"POSTGRES_DSN": addresses["POSTGRES_DSN"]})
    async with open_pool(settings) as pool:
        return bool(await pool.fetchval("select rating from feedback where request_id = $1", request) == rating)


async def test_on_a_phone(tenant: Tenant, addresses: Environment, browser: Browser, pictures: Path) -> None:
    await tenant.upload_and_settle(FILES[0].read_text(encoding="utf-8"), "handbook", title="Mill handbook")
    async with paging(
        browser, addresses[GATEWAY] + "/", viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=1
    ) as page:
        await sign_in(page, key_of(tenant))
        await ask(page, QUESTION)
        cite = page.locator(".answer .cite").first
        await expect(cite).to_be_visible(timeout=SLOW_MS)
        await pictured(page, pictures, "page-phone")
        await cite.tap()
        await expect(page.locator("mark")).to_be_in_viewport()
        await pictured(page, pictures, "page-phone-source")
        await page.get_by_role("button", name="Close the source").tap()
        await expect(cite).to_be_focused()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
