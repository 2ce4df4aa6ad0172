"""Adding documents on the page, each followed until it can be found or has come to another end."""

from typing import Any

import pytest
from playwright.async_api import FilePayload, Page, Route, expect

from schemas.raw import RawEvent
from tests.browsing import violations
from tests.live.page.test_asking import ask
from tests.unit.gateway.conftest import Door, source
from tests.unit.gateway.serving import telling

NOTES = FilePayload(name="weir <b>notes</b>.md", mimeType="text/markdown", buffer=b"The weir is 2 m high.")


class Progress:
    """What the ledger says of an event, a step further each time it is asked."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    async def __call__(self, route: Route) -> None:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "unknown":
            await route.fulfill(status=404, json={"code": "event_not_found", "detail": "not yet"})
            return
        letters: list[dict[str, Any]] = [{"detail": "page 3 is torn"}] if state == "dead_lettered" else []
        await route.fulfill(json={"state": state, "stages": [], "documents": [], "dead_letters": letters})


@pytest.fixture
async def uploading(page: Page, door: Door) -> Page:
    door.connections.upload_sources = door.connections.sources
    door.sources["acme"] = source("src_uploads", "files")
    return page


async def test_a_file_is_sent_and_followed_until_it_can_be_asked_about(uploading: Page, door: Door) -> None:
    await uploading.route("**/v1/events/*", Progress("unknown", "accepted", "normalised", "searchable"))
    await uploading.locator("#files").set_input_files([NOTES])
    item = uploading.locator("#upload-list li")
    await expect(item).to_contain_text("weir <b>notes</b>.md")
    await expect(item.locator(".state")).to_have_text("Read, being indexed…")
    assert await violations(uploading) == []
    await expect(item.locator(".state")).to_have_text("Ready to be asked about")
    await expect(uploading.get_by_role("log")).to_contain_text("Ready to be asked about")
    (event,) = [body for body in door.log.bodies if isinstance(body, RawEvent)]
    assert (event.body, event.subject, event.source) == (NOTES["buffer"], NOTES["name"], "src_uploads")
    await uploading.get_by_role("button", name="Hide weir").click()
    await expect(uploading.locator("#uploads")).to_be_hidden()
    await expect(uploading.get_by_label("Your question")).to_be_focused()


async def test_a_file_that_cannot_be_read_says_why(uploading: Page) -> None:
    await uploading.route("**/v1/events/*", Progress("dead_lettered"))
    await uploading.locator("#files").set_input_files([NOTES])
    await expect(uploading.locator("#upload-list .state")).to_have_text("Could not be read: page 3 is torn")


async def test_a_refused_file_is_tried_again_as_the_same_event(uploading: Page, door: Door) -> None:
    await uploading.route("**/v1/events/*", Progress("complete"))
    door.log.down = True
    await uploading.locator("#files").set_input_files([NOTES])
    await expect(uploading.locator("#upload-list .state")).to_contain_text("log does not answer")
    door.log.down = False
    await uploading.get_by_role("button", name="Try again").click()
    await expect(uploading.locator("#upload-list .state")).to_have_text("Ready to be asked about")


async def test_a_file_over_the_limit_names_it(uploading: Page, door: Door) -> None:
    large = FilePayload(name="large.txt", mimeType="text/plain", buffer=b"x" * 2_000_000)
    await uploading.locator("#files").set_input_files([large])
    # A gateway that hangs up early may leave the browser without its words.
    await expect(uploading.locator("#upload-list .failed .state")).to_contain_text("larger than the gateway takes")
    assert door.log.published == []


async def test_a_rating_is_sent_and_may_be_explained(page: Page, door: Door) -> None:
    sent: list[Any] = []

    async def take(route: Route) -> None:
        sent.append(route.request.post_data_json)
        status = 404 if len(sent) == 4 else 202
        await route.fulfill(status=status, json={"event_id": "e", "detail": "the workspace has no such request"})

    await page.route("**/v1/feedback", take)
    door.log.answer = telling("Two metres.")
    await ask(page, "How high?")
    up, down = (page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await down.click()
    await expect(up).to_have_attribute("aria-pressed", "false")
    await page.get_by_label("What was wrong?").fill("It is three.")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("What was wrong?")).to_be_hidden()
    await expect(down).to_be_focused()
    await up.click()
    await expect(page.locator(".actions")).to_contain_text("no such request")
    await expect(down).to_have_attribute("aria-pressed", "true")
    assert [(each["rating"], each.get("comment")) for each in sent] == [
        ("up", None),
        ("down", None),
        ("down", "It is three."),
        ("up", None),
    ]
    assert len({each["request_id"] for each in sent}) == 1
