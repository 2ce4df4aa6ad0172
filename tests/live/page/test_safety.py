"""What a model or a document says is shown, and does nothing; the key is where it belongs."""

from uuid import UUID

from playwright.async_api import Page, expect

from gateway.auth import KeyCheck
from infra.postgres.keys import PresentedKey
from schemas.chat import Citation
from tests.browsing import sign_in
from tests.live.page.conftest import Documents
from tests.live.page.test_asking import ask
from tests.unit.gateway.conftest import KEY, Door
from tests.unit.gateway.serving import telling

EVIL = """<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>
[click me](javascript:document.title='owned') ![pixel](https://evil.example/pixel.png)
<https://evil.example/a> [here](https://evil.example/?q=secret "title") <a href="https://evil.example">x</a>
`<b>code</b>` **<i>bold</i>**
| a | b |
|---|---|
| <u>1</u> | [2](https://evil.example) |
"""


async def test_markup_links_and_pictures_in_an_answer_are_text(page: Page, door: Door, documents: Documents) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    title = "<img src=x onerror=alert(1)>"
    citation = Citation(
        number=1,
        document_id=UUID(int=7),
        version=1,
        start=0,
        end=4,
        quote=EVIL[:4],
        title=title,
        url="javascript:alert(1)",
    )
    documents.texts[UUID(int=7)] = {"text": EVIL, "version": 1, "url": "javascript:alert(1)", "title": title}
    door.log.answer = telling(EVIL, "[1]", citations=[citation])
    await ask(page, "<script>document.title='owned'</script>?")
    answer = page.locator(".answer")
    await expect(answer).to_contain_text("<img src=x onerror=")
    await expect(answer).to_contain_text("click me (javascript:document.title='owned')")
    await expect(answer).to_contain_text("here (https://evil.example/?q=secret)")
    await expect(answer.locator("td").last).to_have_text("2 (https://evil.example)")
    await page.get_by_role("button", name="Source 1").first.click()
    await expect(page.locator("#source-text")).to_contain_text("<img src=x onerror=")
    for inside in (".turn", "#source"):
        assert await page.locator(f"{inside} :is(a, img, script, iframe, b, i:not(.waiting i), u)").count() == 0
    assert "owned" not in await page.title() or "<script>" in await page.title()
    assert hosts == {page.url.split("/")[2]}


RENDERED = """async (text) => {
  const { rendered } = await import("/page/markdown.js");
  const shown = document.createElement("div");
  const began = performance.now();
  shown.append(rendered(text, (number) => (number < 5 ? document.createElement("s") : null)));
  return [shown.innerHTML, performance.now() - began];
}"""

MARKDOWN = {
    "# One\n\ntext": "<h3>One</h3><p>text</p>",
    "a\nb  \nc\n\nd": "<p>a\nb<br>c</p><p>d</p>",
    "- a\n- b\n  - c\n  - d\n\n1. e": "<ul><li>a</li><li>b<ul><li>c</li><li>d</li></ul></li></ul>"
    '<ol start="1"><li>e</li></ol>',
    "3. a\n4. b\n   1. c": '<ol start="3"><li>a</li><li>b<ol start="1"><li>c</li></ol></li></ol>',
    "```py\nx < 1 && `y`\n```\nafter": '<pre tabindex="0" role="region" aria-label="Code"><code>x &lt; 1 &amp;&amp; `y`'
    "</code></pre><p>after</p>",
    "```\nopen": '<pre tabindex="0" role="region" aria-label="Code"><code>open</code></pre>',
    "> a\n> b": "<blockquote><p>a\nb</p></blockquote>",
    "snake_case_name and 2 * 3 * 4": "<p>snake_case_name and 2 * 3 * 4</p>",
    "\\*not\\* *but* __both__ `` a`b ``": "<p>*not* <em>but</em> <strong>both</strong> <code>a`b</code></p>",
    "a\n---\nb": "<p>a</p><hr><p>b</p>",
    "[1] [2, 3] [4; 9] [x] [12345]": "<p><s></s> <s></s><s></s> [4; 9] [x] [12345]</p>",
    "**bold [1]**": "<p><strong>bold <s></s></strong></p>",
    "a < b & c > d &lt; <br>": "<p>a &lt; b &amp; c &gt; d &amp;lt; &lt;br&gt;</p>",
}

HOSTILE = [
    ">" * 20_000 + " deep",
    "- " * 20_000 + "deep",
    "**a " * 10_000,
    "*a_" * 10_000,
    "[" * 20_000 + "]" * 20_000,
    "[a](" * 5_000,
    "a " + "`" * 5_000 + "a" + "`" * 4_999,
    "`a``b" * 5_000,
    "| a |\n|---|\n" + "| b |\n" * 3_000,
    "\n\n".join(["- a"] * 5_000),
    "# " + " #" * 20_000 + "a",
    "* " * 20_000 + "a",
]


async def test_a_subset_of_markdown_is_shown(entry: Page) -> None:
    assert {text: (await entry.evaluate(RENDERED, text))[0] for text in MARKDOWN} == MARKDOWN


async def test_no_text_keeps_the_page_busy(entry: Page) -> None:
    slow = {text[:12]: round((await entry.evaluate(RENDERED, text))[1]) for text in HOSTILE}
    assert {text: milliseconds for text, milliseconds in slow.items() if milliseconds > 2_000} == {}


async def test_the_key_is_kept_for_the_tab_only_unless_asked_and_stands_in_no_address(entry: Page, door: Door) -> None:
    addresses: list[str] = []
    entry.on("request", lambda request: addresses.append(request.url))
    kept = "JSON.stringify([{...sessionStorage}, {...localStorage}])"
    await sign_in(entry, KEY)
    assert KEY in (await entry.evaluate(kept)).split("},")[0]
    assert await entry.evaluate("localStorage.length") == 0
    await entry.reload()
    await entry.get_by_label("Your question").wait_for()
    await entry.get_by_role("button", name="Sign out").click()
    await expect(entry.get_by_label("API key")).to_be_focused()
    assert KEY not in await entry.evaluate(kept)
    await entry.get_by_label("Remember it in this browser").check()
    await sign_in(entry, KEY)
    assert KEY in await entry.evaluate("JSON.stringify({...localStorage})")
    assert await entry.evaluate("sessionStorage.length") == 0
    assert [address for address in addresses if KEY in address or KEY[-20:] in address] == []


async def nobody(_: PresentedKey) -> None:
    """Know no key any more."""


async def test_a_wrong_key_is_told_and_a_revoked_one_leads_back(entry: Page, door: Door) -> None:
    await entry.unroute("**/v1/documents?*")
    for wrong in ("mr_nonsense", "schlüssel 👋", f"mr_{'c' * 12}_{'3' * 64}"):
        await entry.get_by_label("API key").fill(wrong)
        await entry.keyboard.press("Enter")
        await expect(entry.get_by_role("alert")).to_contain_text("not valid")
        await expect(entry.get_by_label("API key")).to_be_focused()
    await entry.route("**/v1/documents?*", lambda route: route.fulfill(json={"documents": [], "next": None}))
    await sign_in(entry, KEY)
    door.connections.keys = KeyCheck(nobody, 0)
    await ask(entry, "Still there?")
    await expect(entry.get_by_role("alert")).to_contain_text("no longer valid")
    assert await entry.evaluate("sessionStorage.getItem('millrace.key')") is None
