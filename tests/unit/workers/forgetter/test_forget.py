from uuid import UUID

import pytest

from infra.errors import Transient
from infra.redis.kept_answers import Changed, KeptAnswers
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import document, receipt
from workers.forgetter.forget import changes, confirms
from workers.forgetter.worker import forget

KEPT = document("Text.", workspace="acme", version=3)
GONE = document("", workspace="acme", version=4)


def test_deletions_count_by_the_ledger_and_by_each_index_and_versions_by_the_indexes() -> None:
    told = [
        receipt(KEPT, "embedder/main"),
        receipt(GONE, "ledger"),
        receipt(GONE, "embedder/main"),
        receipt(GONE, "graph_builder"),
        receipt(GONE, "answer_cache"),
        receipt(document("", workspace="other", version=1), "ledger"),
    ]
    found = changes(told)
    assert found["acme"] == [
        Changed(KEPT.document_id, 3, deleted=False),
        Changed(GONE.document_id, 4, deleted=True),
        Changed(GONE.document_id, 4, deleted=True),
    ]
    assert set(found) == {"acme", "other"}


def test_a_deleted_conversation_counts_as_a_document_of_its_own() -> None:
    talk = receipt(GONE, "archivist", source="conversations", document_id=UUID(int=7))
    assert changes([talk]) == {"acme": [Changed(UUID(int=7), 4, deleted=True)]}


def test_what_is_said_of_another_kind_of_thing_is_not_taken_for_a_deletion() -> None:
    told = [receipt(GONE, "archivist", about="document"), receipt(GONE, "ledger", about="conversation")]
    told.append(receipt(GONE, "embedder/main", about="conversation"))
    assert changes(told) == {}
    assert not any(confirms(each) for each in told)


def test_a_receipt_of_an_event_alone_changes_nothing() -> None:
    event_alone = receipt(KEPT, "ledger").model_copy(update={"document_id": None, "version": None, "operation": None})
    assert changes([event_alone]) == {}


@pytest.mark.parametrize("sink", ["ledger", "archivist"])
async def test_the_word_of_who_deletes_first_is_answered_once(sink: str) -> None:
    told = [receipt(GONE, each) for each in (sink, "embedder/main", "answer_cache")] + [receipt(KEPT, sink)]
    (said,) = await forget([delivery(each) for each in told], None)
    assert isinstance(said.body, Receipt)
    assert (said.body.sink, said.body.version, said.body.operation) == ("answer_cache", 4, "delete")
    assert said.body.event_id == GONE.event_id


class Away(KeptAnswers):
    def __init__(self) -> None:
        """Connect to nothing."""

    async def forget(self, workspace: str, changed: object) -> int:
        raise Transient("redis", "away")


async def test_nothing_is_confirmed_while_the_store_is_away() -> None:
    with pytest.raises(Transient):
        await forget([delivery(receipt(GONE, "ledger"))], Away())
