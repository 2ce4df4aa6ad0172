from typing import Any

import numpy as np

from infra.qdrant.points import (
    Head,
    Key,
    belongs_to,
    chunk_id,
    chunks_of,
    equals,
    head_id,
    head_point,
    pack_vectors,
    read_head,
    read_sentences,
)
from tests.events import document


def test_a_head_says_version_and_deletion() -> None:
    point = head_point(document("", version=7))
    assert point.vector == {}
    assert read_head(point.payload or {}) == Head(7, deleted=True)
    assert point.id == head_id("acme", document().document_id)


def test_points_of_two_workspaces_never_share_an_id() -> None:
    identity = document().document_id
    assert chunk_id("acme", identity, 0) != chunk_id("globex", identity, 0)
    assert chunk_id("acme", identity, 0) != chunk_id("acme", identity, 1)


def test_every_filter_names_the_workspace() -> None:
    for built in (belongs_to("acme"), chunks_of("acme", equals(Key.KIND, "issue"))):
        assert equals(Key.WORKSPACE, "acme") in (built.must or [])


def test_packed_vectors_keep_their_direction() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(50, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    payload: dict[str, Any] = {
        Key.SENTENCES: [[n, n + 1] for n in range(50)],
        Key.SENTENCE_VECTORS: pack_vectors(vectors),
    }
    spans, read = read_sentences(payload)
    assert len(spans) == 50
    assert (read * vectors).sum(axis=1).min() > 0.995


def test_a_payload_without_vectors_has_spans_alone() -> None:
    spans, vectors = read_sentences({Key.SENTENCES: [[0, 4]], Key.SENTENCE_VECTORS: ""})
    assert spans == [(0, 4)]
    assert vectors.shape == (0, 0)
    assert read_sentences({})[0] == []
