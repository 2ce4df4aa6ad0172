import math

import numpy as np
import pytest
from qdrant_client import models

from infra.models.sparse import term_id
from infra.qdrant.points import pack_vectors
from workers.retriever.fuse import Candidate
from workers.retriever.passages import passage_of, sentences_of
from workers.retriever.store import highest_weight, seen_weights

PAYLOAD = {
    "part": "chunk",
    "workspace": "acme",
    "document": "00000000-0000-0000-0000-000000000001",
    "version": 3,
    "ordinal": 0,
    "start": 10,
    "end": 21,
    "text": "One. Twoooo",
    "authors": ["ada"],
    "updated_at": 1_577_836_800.0,
    "sentences": [[10, 14], [15, 21]],
}


def scored(term: str, score: float, weight: float) -> models.ScoredPoint:
    vector = models.SparseVector(indices=[term_id("other"), term_id(term)], values=[9.0, weight])
    return models.ScoredPoint(id=1, version=1, score=score, vector={"sparse": vector})


def test_a_weight_is_the_score_divided_by_what_is_stored() -> None:
    assert seen_weights(["key", "zeppelin"], [[scored("key", 3.0, 2.0)], []]) == {"key": pytest.approx(1.5)}


def test_a_point_without_its_vector_tells_nothing() -> None:
    bare = models.ScoredPoint(id=1, version=1, score=3.0)
    assert seen_weights(["key"], [[bare]]) == {}
    assert seen_weights([], []) == {}


def test_the_highest_weight_is_that_of_a_term_in_one_chunk() -> None:
    assert highest_weight(100) == pytest.approx(math.log(1 + (100 - 1 + 0.5) / (1 + 0.5)))
    assert highest_weight(0) > 0


def test_a_passage_of_a_payload() -> None:
    unit = np.array([1.0, 0.0], dtype=np.float32)
    vectors = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    payload = {**PAYLOAD, "sentence_vectors": pack_vectors(vectors)}
    passage = passage_of(2, Candidate("p", 0.9, 0.4), payload, unit)
    assert (passage.number, passage.score, passage.cosine, passage.version) == (2, 0.9, 0.4, 3)
    assert passage.updated_at is not None
    assert passage.updated_at.isoformat() == "2020-01-01T00:00:00+00:00"
    assert [(one.start, one.end) for one in passage.sentences] == [(10, 14), (15, 21)]
    assert [one.cosine for one in passage.sentences] == [1.0, pytest.approx(0.6, abs=0.01)]
    assert (passage.title, passage.url) == ("", "")


def test_sentences_without_usable_vectors_have_cosine_zero() -> None:
    unit = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    assert [one.cosine for one in sentences_of(PAYLOAD, unit)] == [0.0, 0.0]
    other = {**PAYLOAD, "sentence_vectors": pack_vectors(np.eye(2, dtype=np.float32))}
    assert [one.cosine for one in sentences_of(other, unit)] == [0.0, 0.0]
    assert sentences_of({}, unit) == ()
