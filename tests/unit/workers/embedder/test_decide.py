from itertools import permutations

import pytest

from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from tests.events import document
from workers.embedder.decide import Verdict, newest, verdict

UPSERT_2, DELETE_2 = document("two", version=2), document("", version=2)


@pytest.mark.parametrize(
    ("version", "head", "expected"),
    [
        (UPSERT_2, None, Verdict.FRESH),
        (UPSERT_2, Head(1, deleted=False), Verdict.FRESH),
        (UPSERT_2, Head(1, deleted=True), Verdict.FRESH),
        (UPSERT_2, Head(2, deleted=False), Verdict.HELD),
        (UPSERT_2, Head(3, deleted=False), Verdict.STALE),
        (UPSERT_2, Head(2, deleted=True), Verdict.STALE),
        (DELETE_2, None, Verdict.FRESH),
        (DELETE_2, Head(2, deleted=False), Verdict.FRESH),
        (DELETE_2, Head(2, deleted=True), Verdict.HELD),
        (DELETE_2, Head(3, deleted=False), Verdict.STALE),
    ],
)
def test_the_newer_state_wins_and_at_equal_versions_the_deletion(
    version: DocumentVersion, head: Head | None, expected: Verdict
) -> None:
    assert verdict(version, head) is expected


def test_a_batch_collapses_to_the_newest_state_in_any_order() -> None:
    versions = [document("one", version=1), UPSERT_2, DELETE_2, document("other", external_id="2")]
    for order in permutations(versions):
        kept = newest(order)
        assert DELETE_2 in kept
        assert len(kept) == 2


def test_documents_of_two_workspaces_are_apart() -> None:
    ours = document("a", workspace="acme")
    theirs = ours.model_copy(update={"workspace": "globex"})
    assert newest([ours, theirs]) == [ours, theirs]
