"""RSS and Atom to entries."""

from calendar import timegm
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import feedparser

from workers.normalizer.parse.markup import to_markdown
from workers.normalizer.parse.parsed import Entry, Feed, ParseError
from workers.normalizer.text import clean, web_address


def parse_feed(body: bytes, address: str, chars: int) -> Feed:
    """Return the entries of a feed. Raises ParseError `unreadable_document` where it is none, `oversize`."""
    # Bytes, never a str: feedparser would take a str for an address and fetch it.
    read = feedparser.parse(body, response_headers={"content-location": address} if address else {})
    if not read.version and not read.entries:
        raise ParseError("unreadable_document", "neither RSS nor Atom")
    entries: list[Entry] = []
    length = 0
    for raw in read.entries:
        entry = _entry(raw)
        length += len(entry.text)
        if length > chars:
            raise ParseError("oversize", f"the entries together are longer than {chars} characters")
        entries.append(entry)
    home = str(read.feed.get("link", ""))
    return Feed(str(read.feed.get("title", "")), home or address, tuple(_newest(_named(entries, home))))


def _entry(raw: Any) -> Entry:
    markup = " ".join(part.get("value", "") for part in raw.get("content", [])) or raw.get("summary", "")
    title = to_markdown(raw.get("title", "")).strip()
    names = [str(author["name"]) for author in raw.get("authors", []) if author.get("name")]
    return Entry(
        id=clean(str(raw.get("id") or "")),
        title=title,
        text=to_markdown(markup).strip() or title,
        url=str(raw.get("link", "")),
        authors=tuple(dict.fromkeys(names)),
        tags=tuple(dict.fromkeys(str(tag["term"]) for tag in raw.get("tags", []) if tag.get("term"))),
        published_at=_moment(raw, "published_parsed"),
        updated_at=_moment(raw, "updated_parsed") or _moment(raw, "published_parsed"),
    )


def _named(entries: Sequence[Entry], home: str) -> Iterator[Entry]:
    """Yield the entries with an id each that tells them apart, and stays when the text is edited.

    That is the feed's own (`guid`, `id`), else the link, else the title. One that things share which are not one thing
    is no identity: an id of entries with different links and titles, a link of several entries without an id or that
    of the feed's own home page. There link or title is added.
    """
    by_id: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    by_link: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        by_id[entry.id].add((entry.url, entry.title))
        if not entry.id:
            by_link[entry.url].add(_own(entry))
    for entry in entries:
        if entry.id:
            yield replace(entry, id=f"{entry.id}#{entry.url}") if _are_several(by_id[entry.id]) else entry
        elif entry.url:
            shared = len(by_link[entry.url]) > 1 or entry.url == home
            yield replace(entry, id=f"{entry.url}#{_digest(_own(entry))}" if shared else entry.url)
        else:
            yield replace(entry, id=_digest(_own(entry)))


def _are_several(alike: Set[tuple[str, str]]) -> bool:
    """Tell whether entries of one id, by link and title, are several things and not states of one."""
    links, titles = zip(*alike, strict=True)
    # feedparser takes an id for the link where there is none.
    return all(map(web_address, links)) and len(set(links)) == len(set(titles)) == len(alike) > 1


def _own(entry: Entry) -> str:
    """Return what an entry that names itself by nothing can be known by: its title, else when it came out, else all."""
    return entry.title or (entry.published_at.isoformat() if entry.published_at else entry.text)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _newest(entries: Iterable[Entry]) -> Iterable[Entry]:
    """Return one entry per id: the latest by date, else the first, since feeds begin with the newest."""
    kept: dict[str, Entry] = {}
    for entry in entries:
        known = kept.get(entry.id)
        if known is None or (entry.updated_at and known.updated_at and entry.updated_at > known.updated_at):
            kept[entry.id] = entry
    return kept.values()


def _moment(raw: Any, name: str) -> datetime | None:
    # `in` and not `get`: feedparser answers `updated` with `published` and a warning where only that is there.
    if name not in raw or raw[name] is None:
        return None
    try:
        return datetime.fromtimestamp(timegm(raw[name]), UTC)
    except (ValueError, OverflowError):
        return None
