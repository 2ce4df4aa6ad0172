"""Uploaded and ingested files."""

from pathlib import PurePosixPath
from typing import Any

import orjson

from schemas.documents import Author, MetadataValue, Scalar
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
    for author in parsed.authors:
        facts.state(facts.entity("person", f"files:{author}", author), "AUTHORED", THIS)
    known: dict[str, MetadataValue] = {**parsed.metadata, **sent_metadata(raw.attributes.get("metadata", ""))}
    known |= {"filename": name, "media_type": parsed.media_type}
    return (
        Draft(
            external_id=raw.subject or name or raw.delivery,
            kind="file",
            title=raw.attributes.get("title") or parsed.title or PurePosixPath(name).name or raw.subject,
            text=parsed.text,
            format=parsed.format,
            authors=tuple(Author(name=author) for author in parsed.authors),
            created_at=parsed.created_at,
            updated_at=parsed.updated_at,
            url=raw.attributes.get("url", ""),
            metadata=known,
            entities=facts.entities,
            relations=facts.relations,
        ),
    )


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
