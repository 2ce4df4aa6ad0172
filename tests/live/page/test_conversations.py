"""The list of conversations, its search, opening one, and what can be done with it."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse
from uuid import UUID

import pytest
from playwright.async_api import Page, Route, expect

from tests.browsing import sign_in, violations
from tests.live.page.conftest import Documents
from tests.live.page.test_asking import DOCUMENT, QUOTE, TEXT, ask, cited
from tests.unit.gateway.conftest import KEY, Door
from tests.unit.gateway.serving import asked, telling

AT = "2026-03-14T09:26:53+00:00"


class Archive:
    """Answers as the gateway's conversations do, from memory."""

    def __init__(self) -> None:
        self.items = [self.item(number) for number in range(40)]
        self.changes: list[tuple[str, str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    def item(self, number: int) -> dict[str, Any]:
        return {
            "conversation_id": str(UUID(int=number + 1)),
            "title": f"About <b>mill</b> {number}",
            "created_at": AT,
            "updated_at": AT,
            "messages": 2,
            "archived": False,
            "snippet": None,
        }

    async def __call__(self, route: Route) -> None:
        address = urlparse(route.request.url)
        _, _, _, *rest = address.path.split("/")
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if route.request.method != "GET":
            await self.changed(route, rest[0])
        elif not rest:
            await route.fulfill(json=self.page(query))
        elif rest[-1] == "messages":
            at = int(query.get("cursor", 0))
            following = str(at + 2) if at + 2 < len(self.messages) else None
            await route.fulfill(json={"messages": self.messages[at : at + 2], "next": following})
        elif rest[-1] == "export":
            await route.fulfill(body=f"# exported as {query['format']}", content_type="text/markdown")
        else:
            await route.fulfill(json=self.items[UUID(rest[0]).int - 1])

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        found = self.items
        if wanted := query.get("query"):
            found = [{**each, "snippet": f"…the {wanted}…"} for each in found if each["title"].endswith(wanted)]
        at, limit = int(query.get("cursor", 0)), int(query["limit"])
        return {"conversations": found[at : at + limit], "next": str(at + limit) if at + limit < len(found) else None}

    async def changed(self, route: Route, conversation: str) -> None:
        body = route.request.post_data_json
        self.changes.append((route.request.method, conversation, body))
        self.items[0] |= body or {}
        await route.fulfill(status=202 if body is None else 200, json=self.items[0] if body else {"event_id": "e"})


@pytest.fixture
async def archive(entry: Page, door: Door) -> Archive:
    archive = Archive()
    await entry.unroute("**/v1/conversations**")
    await entry.route("**/v1/conversations**", archive)
    await sign_in(entry, KEY)
    return archive


def message(role: str, content: str, number: int, **fields: Any) -> dict[str, Any]:
    request = str(UUID(int=100 + number))
    return {"role": role, "content": content, "request_id": request, "citations": [], "error": None, **fields}


async def test_the_list_is_paged_and_searched(entry: Page, archive: Archive) -> None:
    listed = entry.get_by_role("navigation").get_by_role("listitem")
    await expect(listed).to_have_count(30)
    await expect(listed.first).to_contain_text("About <b>mill</b> 0")
    await entry.get_by_role("button", name="Show more").click()
    await expect(listed).to_have_count(40)
    await expect(entry.get_by_role("button", name="Show more")).to_be_hidden()
    await entry.get_by_label("Search conversations").fill("17")
    await expect(listed).to_have_count(1)
    await expect(listed).to_contain_text("…the 17…")
    await entry.get_by_label("Search conversations").fill("nothing like it")
    await expect(entry.locator("#search-status")).to_have_text("Nothing found.")
    assert await violations(entry) == []


async def test_a_conversation_is_opened_with_its_sources_and_gone_on_with(
    entry: Page, archive: Archive, door: Door, documents: Documents
) -> None:
    documents.texts[DOCUMENT] = {"text": TEXT, "version": 3, "url": "", "title": "Weir"}
    archive.messages = [
        message("user", "How high?", 1),
        message("assistant", "Two metres [1].", 1, citations=[cited().model_dump(mode="json")], rating="down"),
        message("user", "And why?", 2),
        message("assistant", "", 2, error={"code": "deadline_passed", "detail": "too late"}),
    ]
    await entry.get_by_role("button", name="About <b>mill</b> 3 ").first.click()
    await expect(entry.get_by_role("heading", level=1)).to_have_text("About <b>mill</b> 3")
    await expect(entry.get_by_role("heading", level=1)).to_be_focused()
    await expect(entry.locator(".turn")).to_have_count(2)
    await expect(entry.locator(".turn").last).to_contain_text("No answer came in time.")
    await expect(entry.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    await expect(entry.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")
    await entry.get_by_role("button", name="Source 1: Weir", exact=True).click()
    await expect(entry.locator("mark")).to_have_text(QUOTE)
    door.log.answer = telling("So.")
    await ask(entry, "So what?")
    assert (await asked(door)).conversation_id == UUID(int=4)
    await expect(entry.locator(".turn")).to_have_count(3)
    await entry.reload()
    await expect(entry.locator(".turn").first).to_contain_text("How high?")
    await entry.go_back()
    await expect(entry.get_by_role("heading", level=1)).to_have_text("New conversation")


async def test_a_conversation_is_exported_renamed_and_deleted(entry: Page, archive: Archive, tmp_path: Path) -> None:
    archive.messages = [message("user", "How high?", 1), message("assistant", "Two metres.", 1)]
    await entry.get_by_role("button", name="About <b>mill</b> 0").click()
    menu = entry.get_by_role("button", name="This conversation")
    await menu.click()
    assert await violations(entry) == []
    async with entry.expect_download() as downloading:
        await entry.get_by_role("button", name="Export as Markdown").click()
    download = await downloading.value
    assert download.suggested_filename == "conversation-00000000.md"
    await download.save_as(tmp_path / "export.md")
    assert (tmp_path / "export.md").read_text() == "# exported as markdown"
    await menu.click()
    await entry.get_by_role("button", name="Rename…").click()
    await entry.get_by_role("textbox", name="Rename this conversation").fill("The weir")
    assert await violations(entry) == []
    await entry.keyboard.press("Enter")
    await expect(entry.get_by_role("heading", level=1)).to_have_text("The weir")
    await menu.click()
    await entry.get_by_role("button", name="Delete…").click()
    await entry.get_by_role("button", name="Cancel").click()
    await expect(entry.get_by_role("heading", level=1)).to_have_text("The weir")
    await menu.click()
    await entry.get_by_role("button", name="Delete…").click()
    await entry.get_by_role("button", name="Delete", exact=True).click()
    await expect(entry.get_by_role("heading", level=1)).to_have_text("New conversation")
    one = str(UUID(int=1))
    assert archive.changes == [("PATCH", one, {"title": "The weir"}), ("DELETE", one, None)]


async def test_without_conversations_at_the_gateway_there_is_no_list(page: Page) -> None:
    await expect(page.locator("#history")).to_be_hidden()
    await expect(page.get_by_role("button", name="New conversation")).to_be_visible()
