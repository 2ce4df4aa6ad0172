"""Reads from receipts what kept answers must no longer hold."""

from collections import defaultdict
from collections.abc import Iterable

from infra.postgres.conversations import CONSUMER as ARCHIVIST
from infra.postgres.receipts import CACHE_SINK, LEDGER_SINK
from infra.redis.kept_answers import Changed
from schemas.event import now
from schemas.receipts import About, Receipt

_INDEX = "embedder/"
_DELETES: dict[About, str] = {"document": LEDGER_SINK, "conversation": ARCHIVIST}
"""Whose word of a deletion is answered, by what was deleted."""


def changes(receipts: Iterable[Receipt]) -> dict[str, list[Changed]]:
    """Return by workspace what has changed: every deletion, every version that an index took, and every conversation
    that was deleted, which stands here as a document of its own.

    Both the ledger's and the indexes' word of a deletion count. The first comes at once; an index that lags behind it
    may still have handed out the text until the second.
    """
    found: dict[str, list[Changed]] = defaultdict(list)
    for receipt in receipts:
        if receipt.document_id is None or receipt.version is None or receipt.operation is None:
            continue
        if receipt.sink == _DELETES.get(receipt.about) or _of_index(receipt):
            change = Changed(receipt.document_id, receipt.version, receipt.operation == "delete")
            found[receipt.workspace].append(change)
    return dict(found)


def _of_index(receipt: Receipt) -> bool:
    return receipt.about == "document" and receipt.sink.startswith(_INDEX)


def confirms(receipt: Receipt) -> bool:
    """Whether the cache answers to this receipt with one of its own: once per deletion, to that of who deletes."""
    return receipt.sink == _DELETES.get(receipt.about) and receipt.operation == "delete"


def confirmation(receipt: Receipt) -> Receipt:
    """Return the proof that no kept answer was made of the deleted document, or in the deleted conversation."""
    return receipt.model_copy(update={"sink": CACHE_SINK, "outcome": "applied", "parts": 0, "detail": "", "at": now()})
