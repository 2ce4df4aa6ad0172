"""HTML to Markdown, without what a reader of the page does not see."""

from typing import Any

from bs4 import BeautifulSoup, Comment, Tag
from markdownify import MarkdownConverter

from workers.normalizer.parse.parsed import Parsed

_UNSEEN = ("script", "style", "noscript", "template", "head", "iframe", "object", "svg", "canvas", "form", "nav")


class _Converter(MarkdownConverter):
    """Images become their description: an address of pixels is no text, and `data:` ones are megabytes."""

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - the library's signature
        """Return the alternative text."""
        return str(el.get("alt") or "")

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Return a link, or its text alone where it does not lead to a page."""
        if str(el.get("href") or "").lower().startswith(("http://", "https://")):
            return str(super().convert_a(el, text, parent_tags))  # type: ignore[misc]  # made at run time
        return text


def to_markdown(markup: str) -> str:
    """Return the readable text of a piece of HTML as Markdown."""
    return _converted(BeautifulSoup(markup, "lxml"))


def parse_html(markup: str) -> Parsed:
    """Return the readable text of a page, its title (`<title>`, else the first heading), author and description."""
    soup = BeautifulSoup(markup, "lxml")
    heading = soup.find("h1")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    if not title and heading:
        title = heading.get_text(" ", strip=True)
    authors = tuple(filter(None, (_meta(soup, "author"),)))
    described = _meta(soup, "description")
    return Parsed(
        text=_converted(soup),
        format="markdown",
        media_type="text/html",
        title=title,
        authors=authors,
        metadata={"description": described} if described else {},
    )


def _meta(soup: BeautifulSoup, name: str) -> str:
    tag = soup.find("meta", attrs={"name": name})
    return str(tag.get("content") or "").strip() if isinstance(tag, Tag) else ""


def _converted(soup: BeautifulSoup) -> str:
    for unseen in soup.find_all(_UNSEEN):
        unseen.decompose()
    for hidden in soup.find_all(_hidden):
        if not hidden.decomposed:
            hidden.decompose()
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    options: dict[str, Any] = {"heading_style": "ATX", "bullets": "-", "escape_asterisks": False}
    try:
        return str(_Converter(**options, escape_underscores=False).convert_soup(soup))
    except RecursionError:
        # Thousands of nested elements: structure is lost, the text is not.
        return soup.get_text("\n", strip=True)


def _hidden(tag: Tag) -> bool:
    # Text that no reader sees is either furniture or an instruction planted for machines.
    style = str(tag.get("style") or "").replace(" ", "").lower()
    return tag.has_attr("hidden") or "display:none" in style or "visibility:hidden" in style
