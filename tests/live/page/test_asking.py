"""Asking on the page: the answer as it is written, its sources, stopping, coming back, trying again."""

from uuid import UUID

from playwright.async_api import Page, expect

from schemas.chat import ChatRequest, Citation
from tests.eventually import eventually
from tests.faults.proxy import Proxy
from tests.live.page.conftest import Documents
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import asked, cancels, failure, reply, telling

DOCUMENT = UUID(int=7)
TEXT = "🌊 Das Wehr 𝒜 steht.\n" * 300 + "The weir is 2 m high 🏞️, says 𝕎." + "\nEnd." * 300
QUOTE = "The weir is 2 m high 🏞️, says 𝕎."


def cited(number: int = 1, version: int = 3) -> Citation:
    start = TEXT.index(QUOTE)
    return Citation(
        number=number,
        document_id=DOCUMENT,
        version=version,
        start=start,
        end=start + len(QUOTE),
        quote=QUOTE,
        title="Weir",
    )


async def ask(page: Page, question: str) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")


async def test_an_answer_is_shown_as_it_is_written_and_cites_its_source(
    page: Page, door: Door, documents: Documents
) -> None:
    documents.texts[DOCUMENT] = {"text": TEXT, "version": 3, "url": "https://example.org/weir", "title": "Weir"}
    await ask(page, "How high is the weir?")
    request = await asked(door)
    door.log.say(reply(request, "delta", "It is **two metres** high. [1] Th", 0))
    answer = page.locator(".answer")
    await expect(answer).to_contain_text("two metres high. [1] Th")
    await expect(answer.locator("strong")).to_have_text("two metres")
    await expect(page.get_by_role("log")).to_contain_text("It is **two metres** high.")
    await expect(page.get_by_role("log")).not_to_contain_text("Th")
    await expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    whole = "It is **two metres** high. [1] That is all [9]."
    door.log.say(reply(request, "delta", "at is all [9].", 1), reply(request, "final", whole, 2, citations=[cited()]))
    await expect(answer).to_have_text("It is two metres high. 1 That is all [9].")
    await page.get_by_role("button", name="Source 1: Weir", exact=True).click()
    await expect(page.locator("#source-title")).to_be_focused()
    mark = page.locator("mark")
    await expect(mark).to_have_text(QUOTE)
    await expect(mark).to_be_in_viewport()
    link = page.get_by_role("link", name="https://example.org/weir")
    assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Source 1: Weir", exact=True)).to_be_focused()
    await ask(page, "And?")
    assert (await asked(door, 2)).conversation_id == request.conversation_id


async def test_a_broken_connection_is_taken_up_where_it_ended_and_nothing_is_asked_twice(
    page: Page, door: Door, wire: Proxy
) -> None:
    await ask(page, "How high is the weir?")
    request = await asked(door)
    door.log.say(reply(request, "delta", "Zwei 🏞️ Meter", 0))
    await expect(page.locator(".answer")).to_contain_text("Zwei 🏞️ Meter")
    await wire.refuse()
    await expect(page.locator("#connection")).to_contain_text("connection is lost")
    door.log.say(reply(request, "delta", " und mehr", 1))
    await wire.accept()
    await expect(page.locator(".answer")).to_contain_text("Zwei 🏞️ Meter und mehr")
    await expect(page.locator("#connection")).to_be_empty()
    wire.cut()
    door.log.say(reply(request, "final", "Zwei 🏞️ Meter und mehr.", 2))
    await expect(page.locator(".answer")).to_have_text("Zwei 🏞️ Meter und mehr.")
    assert len([body for body in door.log.bodies if isinstance(body, ChatRequest)]) == 1


async def test_a_page_that_is_loaded_again_goes_on_with_its_answer(page: Page, door: Door) -> None:
    await ask(page, "How high is the weir?")
    request = await asked(door)
    door.log.say(reply(request, "delta", "Two ", 0))
    await expect(page.locator(".answer")).to_contain_text("Two")
    await page.reload()
    await expect(page.locator(".question")).to_have_text("You askedHow high is the weir?")
    door.log.say(reply(request, "final", "Two metres.", 1))
    await expect(page.locator(".answer")).to_have_text("Two metres.")
    assert len([body for body in door.log.bodies if isinstance(body, ChatRequest)]) == 1


async def test_stopping_cancels_and_what_was_written_stays(page: Page, door: Door) -> None:
    await ask(page, "How high is the weir?")
    request = await asked(door)
    door.log.say(reply(request, "delta", "It is", 0))
    await expect(page.locator(".answer")).to_contain_text("It is")
    await page.get_by_role("button", name="Stop the answer").click()
    (cancel,) = await eventually(lambda: cancels(door))
    assert (cancel.request_id, cancel.reason) == (request.request_id, "deleted")
    door.log.say(failure(request, "cancelled"))
    await expect(page.locator(".foot")).to_contain_text("Stopped.")
    await expect(page.locator(".answer")).to_have_text("It is")
    await expect(page.get_by_label("Your question")).to_be_focused()


async def test_a_failed_answer_says_why_and_can_be_tried_again(page: Page, door: Door) -> None:
    door.log.answer = lambda request: [failure(request, "backend_unavailable")]
    await ask(page, "How high is the weir?")
    await expect(page.locator(".foot .error")).to_have_text("In words.")
    door.log.answer = telling("Two metres.")
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.locator(".answer")).to_have_text("Two metres.")
    await expect(page.locator(".turn")).to_have_count(1)
    door.log.down = True
    await ask(page, "And now?")
    await expect(page.locator(".turn").nth(1)).to_contain_text("The log does not answer just now")


async def test_wrapped_lines_of_a_source_flow_and_its_text_stays(page: Page, door: Door, documents: Documents) -> None:
    lead = "Water that the wheel does not need leaves over\nthe bypass.\n\n- one\n- two\n"
    quote = "The gauge at the weir stands above\nninety-five centimetres, and the mill does not"
    text = f"{lead}{quote} run\ntoday. Close both gates.\nShort.\n"
    documents.texts[DOCUMENT] = {"text": text, "version": 1, "url": "", "title": "Gauge"}
    start = len(lead)
    citation = Citation(
        number=1, document_id=DOCUMENT, version=1, start=start, end=start + len(quote), quote=quote, title="Gauge"
    )
    door.log.answer = telling("So [1].", citations=[citation])
    await ask(page, "When?")
    await page.get_by_role("button", name="Source 1: Gauge", exact=True).click()
    await expect(page.locator("mark")).to_be_in_viewport()
    assert await page.locator("#source-text .text").text_content() == text
    shown = await page.locator("#source-text .text").inner_text()
    # The line that ends behind the mark began inside it.
    assert "does not run today." in shown
    assert "- one\n- two\n" in shown
    assert "stands above\n" in shown


async def test_a_source_that_changed_or_went_away_still_shows_the_quote(
    page: Page, door: Door, documents: Documents
) -> None:
    door.log.answer = telling("Two [1].", citations=[cited()])
    await ask(page, "How high?")
    await page.get_by_role("button", name="Source 1: Weir", exact=True).click()
    await expect(page.locator("#source-text")).to_contain_text("has been deleted")
    await expect(page.locator("#source-text blockquote")).to_have_text(QUOTE)
    for text, words in (("New. " + TEXT, "the quoted words are still in it"), ("New.", "no longer in it")):
        documents.texts[DOCUMENT] = {"text": text, "version": 4, "url": "javascript:alert(1)", "title": "Weir"}
        await page.get_by_role("button", name="Close the source").click()
        await page.get_by_role("button", name="Source 1: Weir", exact=True).click()
        await expect(page.locator("#source-facts")).to_contain_text(words)
        await expect(page.locator("#source-text")).to_contain_text(QUOTE)
        await expect(page.locator("#source").get_by_role("link")).to_have_count(0)
