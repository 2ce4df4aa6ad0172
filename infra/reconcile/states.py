"""What the ledger says that each sink holds, what it really holds, and how the two differ. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Sink(StrEnum):
    """Where a document is kept."""

    VECTORS = "vectors"
    GRAPH = "graph"
    TABLE = "table"
    """The ledger's own table `documents`, which the API reads."""


class Problem(StrEnum):
    """How a sink differs from what it should hold."""

    MISSING = "missing"
    """It has never heard of the document; of a deleted one: it has lost the tombstone that keeps old versions out."""
    STALE = "stale"
    """It holds an older version, or still has what was deleted."""
    INCOMPLETE = "incomplete"
    """It holds the right version, and not all of it."""
    SURPLUS = "surplus"
    """It holds the right version, and something of another one."""
    EXTRA = "extra"
    """It holds a document that the ledger does not know."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one sink holds of a document. `parts` of this version (chunks, relations), `all_parts` of any; None: not
    known."""

    version: int
    deleted: bool
    parts: int | None = None
    all_parts: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a document. `version` is None if it only knows that an event became this document."""

    workspace: str
    document_id: UUID
    source: str
    event_id: UUID | None
    version: int | None
    deleted: bool
    chunks: int | None
    relations: int | None
    table: Held | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One sink differs in one document."""

    workspace: str
    document_id: UUID
    sink: Sink
    problem: Problem
    detail: str
    version: int | None = None
    """The version that the sink holds."""


def compare(known: Known, vectors: Held | None, graph: Held | None) -> Iterator[Finding]:
    """Yield what differs. The newest version known to anyone counts: a sink that is ahead of the ledger is right."""
    versions = [held.version for held in (known.table, vectors, graph) if held] + [known.version or 0]
    newest = max(versions)
    deleted = _deleted(known, newest, vectors, graph)
    of_ledger = known.version == newest
    for sink, held, parts in (
        (Sink.VECTORS, vectors, known.chunks if of_ledger else None),
        (Sink.GRAPH, graph, known.relations if of_ledger else None),
        (Sink.TABLE, known.table, None),
    ):
        found = _differs(held, newest, deleted, 0 if deleted else parts)
        if found is not None:
            problem, detail = found
            yield Finding(known.workspace, known.document_id, sink, problem, detail, held.version if held else None)


def _deleted(known: Known, newest: int, *others: Held | None) -> bool:
    """Return whether the newest version is a deletion; of an upsert and a deletion with one number the deletion is."""
    held = [each for each in (known.table, *others) if each is not None and each.version == newest]
    return (known.deleted and known.version == newest) or any(each.deleted for each in held)


def _differs(held: Held | None, version: int, deleted: bool, parts: int | None) -> tuple[Problem, str] | None:
    if held is None:
        return Problem.MISSING, f"version {version}" if version else "no version"
    if held.version < version:
        return Problem.STALE, f"version {held.version} of {version}"
    if held.deleted != deleted:
        return Problem.STALE, "present, though deleted"
    if parts is not None and held.parts is not None and held.parts < parts:
        return Problem.INCOMPLETE, f"{held.parts} parts of {parts}"
    whole = held.parts if parts is None else parts
    if whole is not None and held.all_parts is not None and held.all_parts > whole:
        return Problem.SURPLUS, f"{held.all_parts} parts, not {whole}"
    return None
