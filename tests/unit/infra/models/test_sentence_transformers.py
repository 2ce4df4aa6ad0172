"""The adapter alone: torch is no part of the test environment, so the model's own methods are stood in for."""

from typing import Any

import numpy as np
import pytest

from infra.errors import Permanent
from infra.models.sentence_transformers import SentenceTransformersEncoder


class Standing:
    """The four members of SentenceTransformer (5.x) that the adapter uses."""

    max_seq_length = 128

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.asked: list[tuple[str, list[str], dict[str, Any]]] = []

    def get_sentence_embedding_dimension(self) -> int:
        return 3

    def encode_query(self, texts: list[str], **options: Any) -> Any:
        self.asked.append(("query", texts, options))
        return self.scale * np.ones((len(texts), 3))

    def encode_document(self, texts: list[str], **options: Any) -> Any:
        self.asked.append(("document", texts, options))
        return self.scale * np.eye(3)[: len(texts)]


async def test_questions_and_documents_take_their_own_way_and_come_out_unit_float32() -> None:
    model = Standing(scale=2.0)
    encoder = SentenceTransformersEncoder(model, "any/model")
    assert (encoder.model_id, encoder.dimension, encoder.max_tokens) == ("any/model", 3, 128)
    documents = await encoder.encode_documents(["a", "b"])
    assert documents.dtype == np.float32
    assert (documents == np.eye(3)[:2]).all()
    assert np.linalg.norm(await encoder.encode_query("q")) == pytest.approx(1)
    assert [(use, texts) for use, texts, _ in model.asked] == [("document", ["a", "b"]), ("query", ["q"])]
    assert all(options["show_progress_bar"] is False for _, _, options in model.asked)
    await encoder.close()


async def test_a_vector_without_direction_is_refused() -> None:
    encoder = SentenceTransformersEncoder(Standing(scale=0.0), "any/model")
    with pytest.raises(Permanent):
        await encoder.encode_query("q")
    await encoder.close()
