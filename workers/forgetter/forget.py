"""Reads from receipts what kept answers must no longer hold."""

from collections import defaultdict
from collections.abc import Iterable

from infra.postgres.receipts import CACHE_SINK, LEDGER_SINK
from infra.redis.kept_answers import Changed
from schemas.event import now
from schemas.receipts import Receipt

_INDEX = "embedder/"


def changes(receipts: Iterable[Receipt]) -> dict[str, list[Changed]]:
    """Return by workspace which documents have changed: every deletion, and every version that an index took.

    Both the ledger's and the indexes' word of a deletion count. The first comes at once; an index that lags behind it
    may still have handed out the text until the second.
    """
    found: dict[str, list[Changed]] = defaultdict(list)
    for receipt in receipts:
        if receipt.document_id is None or receipt.version is None or receipt.operation is None:
            continue
        if receipt.sink == LEDGER_SINK or receipt.sink.startswith(_INDEX):
            change = Changed(receipt.document_id, receipt.version, receipt.operation == "delete")
            found[receipt.workspace].append(change)
    return dict(found)


def confirms(receipt: Receipt) -> bool:
    """Whether the cache answers to this receipt with one of its own: once per deletion, to the ledger's."""
    return receipt.sink == LEDGER_SINK and receipt.operation == "delete" and receipt.document_id is not None


def confirmation(receipt: Receipt) -> Receipt:
    """Return the proof that no kept answer was made of the deleted document."""
    return receipt.model_copy(update={"sink": CACHE_SINK, "outcome": "applied", "parts": 0, "detail": "", "at": now()})
