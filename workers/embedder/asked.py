"""The newest state of each document that is at work in this process: a long write learns from it what overtook it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from workers.embedder.decide import DocumentKey, key, newer, state


@dataclass(slots=True)
class _Document:
    newest: Head
    """Kept while any state of the document is at work: a deletion is done long before what it overtook."""
    at_work: int = 0


class Asked:
    """The documents at work."""

    def __init__(self) -> None:
        self._documents: dict[DocumentKey, _Document] = {}

    @contextmanager
    def working(self, versions: Iterable[DocumentVersion]) -> Iterator[None]:
        """Count `versions` as at work inside."""
        told = list(versions)
        for version in told:
            document = self._documents.setdefault(key(version), _Document(state(version)))
            document.at_work += 1
            if newer(state(version), document.newest):
                document.newest = state(version)
        try:
            yield
        finally:
            for version in told:
                document = self._documents[key(version)]
                document.at_work -= 1
                if not document.at_work:
                    del self._documents[key(version)]

    def overtaken(self, version: DocumentVersion) -> bool:
        """Whether a newer state of its document came meanwhile: deletions do not wait for what they delete."""
        document = self._documents.get(key(version))
        return document is not None and newer(document.newest, state(version))
