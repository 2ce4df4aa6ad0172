import pytest
from pydantic import ValidationError

from schemas.receipts import Receipt
from tests.contract.golden import goldens
from tests.events import document, receipt

SAID = {each.case: each.body for each in goldens() if each.schema == "receipt"}


@pytest.mark.parametrize(
    ("case", "about"),
    [
        ("full", "document"),
        ("superseded", "event"),
        ("conversation", "conversation"),
        # As they were written before a receipt said what it speaks of: the log still holds them.
        ("conversation_undeclared", "conversation"),
    ],
)
def test_a_receipt_says_what_it_speaks_of(case: str, about: str) -> None:
    assert Receipt.model_validate_json(SAID[case]).about == about


def test_the_caches_word_of_a_conversation_that_did_not_say_so_is_told_by_its_source() -> None:
    gone = document("")
    assert receipt(gone, "answer_cache", source="conversations").about == "conversation"
    assert receipt(gone, "answer_cache").about == "document"
    # What a repair once deleted in the belief that it was a document was one to the sinks.
    assert receipt(gone, "embedder/main", source="conversations").about == "document"


@pytest.mark.parametrize("about", ["document", "conversation"])
def test_a_receipt_names_what_it_speaks_of(about: str) -> None:
    with pytest.raises(ValidationError, match="names the document or conversation"):
        receipt(document(), about=about, document_id=None)
