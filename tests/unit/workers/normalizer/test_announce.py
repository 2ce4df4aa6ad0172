"""What an event's receipt says of documents that are not indexed whole."""

from schemas.documents import DocumentVersion
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.unit.workers.normalizer.arrivals import file
from workers.normalizer.announce import Said, receipt
from workers.normalizer.decide import decide
from workers.normalizer.gate import Passed
from workers.normalizer.normalize import normalize
from workers.normalizer.parse.parsed import Limits, Parsed

TEXT = "".join(f"Row {number} of a long table of the mill.\n" for number in range(500))


def announced(most: int) -> tuple[DocumentVersion, Receipt]:
    event = file("table.txt", TEXT.encode())
    outcome = normalize(event, 7, Parsed(TEXT), Limits(), most=most)
    assert isinstance(outcome, tuple)
    (state,) = outcome
    decision = decide(state, (0, 7), None)
    passed = Passed(state, (0, 7), decision.verdict, decision.version, decision.held, None)
    told = receipt(Said(delivery(event), [passed])).body
    assert isinstance(told, Receipt)
    return state.version, told


def test_a_text_of_more_chunks_than_are_indexed_is_kept_and_says_what_is_left_out() -> None:
    version, receipt = announced(3)
    assert len(version.chunks) == receipt.parts == 3
    assert version.text.startswith("Row 0")
    assert version.text.rstrip().endswith("Row 499 of a long table of the mill.")
    assert version.left_out == len(version.text) - version.chunks[-1].end > 0
    assert str(version.left_out) in receipt.detail
    assert str(version.document_id) in receipt.detail


def test_a_text_that_is_indexed_whole_leaves_nothing_out() -> None:
    version, receipt = announced(10_000)
    assert version.left_out == 0
    assert receipt.detail == ""
