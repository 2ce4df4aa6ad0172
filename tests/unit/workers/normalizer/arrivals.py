"""Deliveries as the gateway and the connectors worker publish them."""

from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.documents import DocumentVersion
from schemas.ids import event_id
from schemas.raw import RawEvent
from workers.normalizer.decide import State
from workers.normalizer.normalize import normalize
from workers.normalizer.parse.parsed import Feed, Limits, Parsed
from workers.normalizer.parse.run import parse
from workers.normalizer.sources.draft import NotADocument
from workers.normalizer.sources.registry import mapping_of

Outcome = tuple[DocumentVersion, ...] | NotADocument
RECEIVED = datetime(2024, 5, 1, 12, tzinfo=UTC)


def raw(connector: str, body: bytes | dict[str, Any] = b"", *, delivery: str = "d1", **fields: Any) -> RawEvent:
    """Return a delivery to source `src_1` of workspace `acme`."""
    return RawEvent(
        workspace="acme",
        source="src_1",
        event_id=event_id("acme", "src_1", delivery),
        connector=connector,
        delivery=delivery,
        received_at=RECEIVED,
        body=orjson.dumps(body) if isinstance(body, dict) else body,
        **fields,
    )


def github(event: str, body: bytes | dict[str, Any], **fields: Any) -> RawEvent:
    """Return a webhook of GitHub."""
    return raw("github", body, attributes={"x-github-event": event}, **fields)


def file(name: str, body: bytes, **attributes: str) -> RawEvent:
    """Return an uploaded file."""
    return raw("files", body, subject=name, attributes={"filename": name, **attributes})


def read(event: RawEvent, offset: int = 7, limits: Limits | None = None) -> Outcome:
    """Return the documents that `event` becomes; what a child would parse is parsed here."""
    outcome = states(event, offset, limits)
    return outcome if isinstance(outcome, NotADocument) else tuple(state.version for state in outcome)


def states(event: RawEvent, offset: int = 7, limits: Limits | None = None) -> tuple[State, ...] | NotADocument:
    """Return the states that `event` says."""
    limits = limits or Limits()
    parsed: Parsed | Feed | None = None
    if event.operation == "put" and (job := mapping_of(event.connector).job(event, limits)):
        parsed = parse(job)
    return normalize(event, offset, parsed, limits)


def only(outcome: Outcome) -> DocumentVersion:
    """Return the single document of `outcome`."""
    assert isinstance(outcome, tuple), outcome
    assert len(outcome) == 1
    return outcome[0]


def relations(version: DocumentVersion) -> set[tuple[str, str, str]]:
    """Return the relations of `version`, the document itself as `this`."""
    own = f"document:{version.document_id}"

    def short(key: str) -> str:
        return "this" if key == own else key

    return {(short(each.subject), each.predicate, short(each.object)) for each in version.relations}
