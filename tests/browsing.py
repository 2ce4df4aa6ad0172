"""A real Chromium for tests, and pages of it on which nothing may go wrong unseen."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.chromium import fetched_chromium

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)


def chromium() -> Path:
    """Return a Chromium: `MILLRACE_CHROMIUM`, one on the PATH, else one from the cache, fetched if need be.

    Raises AssertionError naming what to do where none can be had.
    """
    if given := os.environ.get("MILLRACE_CHROMIUM"):
        assert Path(given).is_file(), f"MILLRACE_CHROMIUM names {given}, which is no file"
        return Path(given)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found else fetched_chromium()


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Yield a headless browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium())
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def paging(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """Yield a page of a fresh profile at `url`. A script error, or anything the policy had to block, fails the test."""
    context = await browser.new_context(**{"viewport": DESKTOP, "base_url": url, "locale": "en-GB", **options})
    context.set_default_timeout(30_000)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    try:
        await page.goto(url)
        yield page
        assert wrong == []
    finally:
        await context.close()


async def sign_in(page: Page, key: str) -> None:
    """Sign in as people do."""
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Your question").wait_for()


async def violations(page: Page) -> list[str]:
    """Return what axe-core finds against WCAG 2.2 A and AA and good practice on the page as it stands."""
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    results = await Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in results.response["violations"]
        for node in each["nodes"]
    ]
