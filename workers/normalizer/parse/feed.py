"""RSS and Atom to entries."""

from calendar import timegm
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import feedparser

from workers.normalizer.parse.markup import to_markdown
from workers.normalizer.parse.parsed import Entry, Feed, ParseError
from workers.normalizer.text import clean


def parse_feed(body: bytes, address: str, chars: int) -> Feed:
    """Return the entries of a feed. Raises ParseError `unreadable_document` where it is none, `oversize`."""
    # Bytes, never a str: feedparser would take a str for an address and fetch it.
    read = feedparser.parse(body, response_headers={"content-location": address} if address else {})
    if not read.version and not read.entries:
        raise ParseError("unreadable_document", "neither RSS nor Atom")
    entries: dict[str, Entry] = {}
    length = 0
    for raw in read.entries:
        entry = _entry(raw)
        length += len(entry.text)
        if length > chars:
            raise ParseError("oversize", f"the entries together are longer than {chars} characters")
        known = entries.get(entry.id)
        if known is None or (entry.updated_at and known.updated_at and entry.updated_at > known.updated_at):
            entries[entry.id] = entry
    return Feed(str(read.feed.get("title", "")), str(read.feed.get("link", "") or address), tuple(entries.values()))


def _entry(raw: Any) -> Entry:
    markup = " ".join(part.get("value", "") for part in raw.get("content", [])) or raw.get("summary", "")
    title = to_markdown(raw.get("title", "")).strip()
    url = str(raw.get("link", ""))
    text = to_markdown(markup).strip() or title
    names = [str(author["name"]) for author in raw.get("authors", []) if author.get("name")]
    stated = _moment(raw, "updated_parsed")
    return Entry(
        id=clean(str(raw.get("id") or "")) or url or sha256(f"{title}\n{text}".encode()).hexdigest(),
        title=title,
        text=text,
        url=url,
        authors=tuple(dict.fromkeys(names)),
        tags=tuple(dict.fromkeys(str(tag["term"]) for tag in raw.get("tags", []) if tag.get("term"))),
        published_at=_moment(raw, "published_parsed"),
        updated_at=stated or _moment(raw, "published_parsed"),
        stated=stated is not None,
    )


def _moment(raw: Any, name: str) -> datetime | None:
    # `in` and not `get`: feedparser answers `updated` with `published` and a warning where only that is there.
    if name not in raw or raw[name] is None:
        return None
    try:
        return datetime.fromtimestamp(timegm(raw[name]), UTC)
    except (ValueError, OverflowError):
        return None
