"""Uploaded and ingested files."""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import orjson

from schemas.documents import Author, MetadataValue, Scalar
from schemas.filters import moment
from schemas.raw import RawEvent
from workers.normalizer.parse.parsed import Feed, Job, Limits, Parsed
from workers.normalizer.sources.draft import THIS, Draft, Drafts, NotADocument
from workers.normalizer.sources.facts import Facts


def job(raw: RawEvent, limits: Limits) -> Job | None:
    """Return what is to be parsed: the file, whatever it is. None for an empty one."""
    if not raw.body.strip():
        return None
    name = raw.attributes.get("filename", "")
    if not name and PurePosixPath(raw.subject).suffix:
        name = raw.subject
    return Job("file", raw.body, name, raw.content_type, limits=limits)


def drafts(raw: RawEvent, parsed: Parsed | Feed | None) -> Drafts:
    """Return the document of a file; what the sender says of it wins over what it says of itself."""
    if not isinstance(parsed, Parsed):
        return NotADocument("the file is empty")
    if not parsed.text.strip():
        return NotADocument(parsed.empty or "the file has no text")
    name = raw.attributes.get("filename", "")
    facts = Facts()
    authors = sent_authors(raw.attributes.get("authors", "")) or tuple(Author(name=each) for each in parsed.authors)
    for author in authors:
        place = f"files:{author.handle or author.name}"
        facts.state(facts.entity("person", place, author.name), "AUTHORED", THIS)
    known: dict[str, MetadataValue] = {**parsed.metadata, **sent_metadata(raw.attributes.get("metadata", ""))}
    known |= {"filename": name, "media_type": parsed.media_type}
    return (
        Draft(
            external_id=raw.subject or name or raw.delivery,
            kind="file",
            title=raw.attributes.get("title") or parsed.title or PurePosixPath(name).name or raw.subject,
            text=parsed.text,
            format=parsed.format,
            authors=authors,
            created_at=sent_moment(raw.attributes.get("created_at", "")) or parsed.created_at,
            updated_at=sent_moment(raw.attributes.get("updated_at", "")) or parsed.updated_at,
            url=raw.attributes.get("url", ""),
            metadata=known,
            entities=facts.entities,
            relations=facts.relations,
        ),
    )


def sent_authors(text: str) -> tuple[Author, ...]:
    """Return the authors that an upload states, which the gateway has checked; none for anything else."""
    try:
        people = orjson.loads(text) if text else []
        named = [(str(each.get("name", "")), str(each.get("handle", ""))) for each in people]
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return ()
    return tuple(Author(name=name or handle, handle=handle) for name, handle in named if name or handle)


def sent_moment(text: str) -> datetime | None:
    """Return the time that an upload states, None for anything that is none."""
    try:
        return moment(text) if text else None
    except ValueError:
        return None


def sent_metadata(text: str) -> dict[str, MetadataValue]:
    """Return the flat values of a JSON object; nested ones are told as JSON. Empty for anything else."""
    try:
        value = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return flat(value) if isinstance(value, dict) else {}


def flat(values: dict[str, Any]) -> dict[str, MetadataValue]:
    """Return `values` as metadata: scalars and lists of scalars as they are, deeper structures as JSON text."""
    kept: dict[str, MetadataValue] = {}
    for name, value in values.items():
        if isinstance(value, Scalar):
            kept[name] = value
        elif isinstance(value, list) and all(isinstance(each, Scalar) for each in value):
            kept[name] = tuple(value)
        elif value is not None:
            kept[name] = orjson.dumps(value).decode()
    return kept
