"""The page for those who use a keyboard, a screen reader, a phone, or the dark."""

import pytest
from playwright.async_api import Page, expect

from tests.browsing import PHONE, sign_in, violations
from tests.live.page.conftest import Documents, Opened
from tests.live.page.test_asking import DOCUMENT, QUOTE, TEXT, ask, cited
from tests.unit.gateway.conftest import KEY, Door
from tests.unit.gateway.serving import asked, reply, telling

ANSWER = "It is **2 m** high [1].\n\n```\ncode\n```\n\n> quote\n\n| a | b |\n|---|---|\n| 1 | `2` |\n\n[x](https://a.example)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
async def test_no_state_of_the_page_breaks_a_rule_of_accessibility(
    opened: Opened, door: Door, documents: Documents, scheme: str, width: str
) -> None:
    documents.texts[DOCUMENT] = {"text": TEXT, "version": 3, "url": "https://example.org/weir", "title": "Weir"}
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if width == "phone" else {}
    async with opened(color_scheme=scheme, **options) as page:
        assert await violations(page) == []
        await sign_in(page, KEY)
        assert await violations(page) == []
        await ask(page, "How high is the weir?")
        request = await asked(door)
        door.log.say(reply(request, "delta", "It is", 0))
        await expect(page.locator(".answer")).to_contain_text("It is")
        assert await violations(page) == []
        door.log.say(reply(request, "final", ANSWER, 1, citations=[cited()]))
        await page.get_by_role("button", name="Source 1: Weir", exact=True).click()
        await expect(page.locator("mark")).to_be_in_viewport()
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_everything_is_reached_with_the_keyboard_alone(page: Page, door: Door, documents: Documents) -> None:
    documents.texts[DOCUMENT] = {"text": TEXT, "version": 3, "url": "", "title": "Weir"}
    door.log.answer = telling("Two metres [1].", citations=[cited()])
    await expect(page.get_by_label("Your question")).to_be_focused()
    await page.keyboard.type("How high?")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("In metres?")
    await page.keyboard.press("Enter")
    assert (await asked(door)).messages[-1].content == "How high?\nIn metres?"
    await page.get_by_role("button", name="Ask again").wait_for()
    reached = []
    for _ in range(30):
        await page.keyboard.press("Shift+Tab")
        name = await page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()")
        reached.append(name)
        if name == "Source 1: Weir":
            break
    assert {"Ask again", "Bad answer", "Good answer", "Source 1: Weir"} <= set(reached)
    await page.keyboard.press("Enter")
    await expect(page.locator("#source-title")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#source")).to_be_hidden()
    await expect(page.get_by_role("button", name="Source 1: Weir", exact=True)).to_be_focused()
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


async def test_landmarks_and_names_are_there_for_a_screen_reader(page: Page) -> None:
    for role in ("banner", "main", "navigation", "form", "log"):
        await expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    await expect(page.get_by_role("heading", level=1)).to_have_text("New conversation")
    unnamed = await page.get_by_role("button", name="", exact=True).count()
    assert unnamed == 0


async def test_on_a_phone_the_source_covers_the_page_and_the_list_is_a_drawer(
    opened: Opened, door: Door, documents: Documents
) -> None:
    documents.texts[DOCUMENT] = {"text": TEXT, "version": 3, "url": "", "title": "Weir"}
    door.log.answer = telling("Two metres [1].", citations=[cited()])
    async with opened(viewport=PHONE, has_touch=True, is_mobile=True) as page:
        await sign_in(page, KEY)
        await expect(page.get_by_role("button", name="New conversation")).to_be_hidden()
        await page.get_by_role("button", name="Conversations").tap()
        await expect(page.get_by_role("button", name="New conversation")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Conversations")).to_be_focused()
        await ask(page, "How high?")
        await page.get_by_role("button", name="Source 1: Weir", exact=True).tap()
        await expect(page.locator("mark")).to_have_text(QUOTE)
        box = await page.locator("#source").bounding_box()
        assert box is not None
        assert (box["x"], box["width"], box["height"]) == (0, PHONE["width"], PHONE["height"])
        # What is covered can be neither tabbed to nor read out.
        assert await page.evaluate("document.getElementById('main').inert")
        await page.get_by_role("button", name="Close the source").tap()
        assert not await page.evaluate("document.getElementById('main').inert")
