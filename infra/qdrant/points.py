"""The points of an index: names of their vectors and payload fields, how they are built and how they are read.

Each document version gives one point per chunk (dense and sparse vector, text, sentences) and one head point without
vectors. The head holds the newest version seen and whether the document is deleted: it is the version gate and the
tombstone. Every point has a `version`, because a point without one never satisfies `version < n`.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from infra.models.encoder import FloatArray
from infra.models.sparse import SparseTerms
from schemas.documents import Chunk, DocumentVersion
from schemas.ids import point_id

DENSE = "dense"
"""Named dense vector, cosine."""
SPARSE = "sparse"
"""Named sparse vector, modifier IDF."""

HEAD_PART = "head"
INT8_SCALE = 127
"""Sentence vectors are kept as int8: unit components times 127. The cosine is off by at most .005."""

Condition = models.FieldCondition | models.HasIdCondition | models.Filter


class Key(StrEnum):
    """Payload fields."""

    PART = "part"
    WORKSPACE = "workspace"
    DOCUMENT = "document"
    VERSION = "version"
    DELETED = "deleted"
    ORDINAL = "ordinal"
    START = "start"
    END = "end"
    TEXT = "text"
    TITLE = "title"
    HEADING = "heading"
    URL = "url"
    SOURCE = "source"
    CONNECTOR = "connector"
    KIND = "kind"
    LANGUAGE = "language"
    AUTHORS = "authors"
    UPDATED_AT = "updated_at"
    METADATA = "metadata"
    SENTENCES = "sentences"
    SENTENCE_VECTORS = "sentence_vectors"


class Part(StrEnum):
    """What a point is."""

    CHUNK = "chunk"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk with all that its point holds. `sentences` are code point offsets into the document's text."""

    chunk: Chunk
    dense: FloatArray
    """[dimension], unit length."""
    sparse: SparseTerms
    sentences: tuple[tuple[int, int], ...] = ()
    sentence_vectors: FloatArray | None = None
    """[len(sentences), dimension], unit rows."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a document that an index has seen."""

    version: int
    deleted: bool


def head_id(workspace: str, document: UUID) -> str:
    """Id of a document's head point."""
    return str(point_id(workspace, document, HEAD_PART))


def chunk_id(workspace: str, document: UUID, ordinal: int) -> str:
    """Id of a document's chunk point."""
    return str(point_id(workspace, document, str(ordinal)))


def head_point(version: DocumentVersion) -> models.PointStruct:
    """Return the head point of a document version or deletion."""
    payload = {
        Key.PART: Part.HEAD,
        Key.WORKSPACE: version.workspace,
        Key.DOCUMENT: str(version.document_id),
        Key.VERSION: version.version,
        Key.DELETED: version.operation == "delete",
    }
    return models.PointStruct(id=head_id(version.workspace, version.document_id), vector={}, payload=_plain(payload))


def chunk_point(version: DocumentVersion, encoded: EncodedChunk) -> models.PointStruct:
    """Return the point of one chunk of a document version."""
    return models.PointStruct(
        id=chunk_id(version.workspace, version.document_id, encoded.chunk.ordinal),
        vector={
            DENSE: encoded.dense.tolist(),
            SPARSE: models.SparseVector(indices=list(encoded.sparse.indices), values=list(encoded.sparse.values)),
        },
        payload=_chunk_payload(version, encoded),
    )


def _chunk_payload(version: DocumentVersion, encoded: EncodedChunk) -> dict[str, Any]:
    chunk = encoded.chunk
    vectors = encoded.sentence_vectors
    payload: dict[Key, Any] = {
        Key.PART: Part.CHUNK,
        Key.WORKSPACE: version.workspace,
        Key.DOCUMENT: str(version.document_id),
        Key.VERSION: version.version,
        Key.ORDINAL: chunk.ordinal,
        Key.START: chunk.start,
        Key.END: chunk.end,
        Key.TEXT: version.text_of(chunk),
        Key.TITLE: version.title,
        Key.HEADING: chunk.heading,
        Key.URL: version.url,
        Key.SOURCE: version.source,
        Key.CONNECTOR: version.connector,
        Key.KIND: version.kind,
        Key.LANGUAGE: version.language,
        Key.AUTHORS: author_names(version),
        Key.UPDATED_AT: version.updated_at.timestamp() if version.updated_at else None,
        Key.METADATA: {name: list(v) if isinstance(v, tuple) else v for name, v in version.metadata.items()},
        Key.SENTENCES: [list(span) for span in encoded.sentences],
        Key.SENTENCE_VECTORS: "" if vectors is None else pack_vectors(vectors),
    }
    return _plain(payload)


def author_names(version: DocumentVersion) -> list[str]:
    """Return the authors' names and handles, lower case, each once, as filters and the author bonus compare them."""
    names = (name.strip().lower() for author in version.authors for name in (author.name, author.handle))
    return list(dict.fromkeys(name for name in names if name))


def _plain(payload: Mapping[Key, Any]) -> dict[str, Any]:
    return {str(key): value.value if isinstance(value, StrEnum) else value for key, value in payload.items()}


def pack_vectors(vectors: FloatArray) -> str:
    """Return unit vectors [n, dim] as base64 of int8, row after row."""
    return base64.b64encode(np.rint(vectors * INT8_SCALE).astype(np.int8).tobytes()).decode("ascii")


def read_sentences(payload: Mapping[str, Any]) -> tuple[list[tuple[int, int]], FloatArray]:
    """Return a chunk's sentence spans (offsets into the document's text) and their unit vectors [n, dim].

    Without stored vectors the array has shape [0, 0]; callers then have spans and no cosines.
    """
    spans = [(int(start), int(end)) for start, end in payload.get(Key.SENTENCES) or ()]
    packed = payload.get(Key.SENTENCE_VECTORS) or ""
    if not spans or not packed:
        return spans, np.zeros((0, 0), dtype=np.float32)
    whole: NDArray[np.int8] = np.frombuffer(base64.b64decode(packed), dtype=np.int8)
    vectors = whole.reshape(len(spans), -1).astype(np.float32)
    return spans, np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def read_head(payload: Mapping[str, Any]) -> Head:
    """Return the head that a head point's payload holds."""
    return Head(version=int(payload[Key.VERSION]), deleted=bool(payload[Key.DELETED]))


def equals(key: Key, value: str | int | bool) -> models.FieldCondition:
    """Condition: the field (or one element of a list field) is `value`."""
    return models.FieldCondition(key=key.value, match=models.MatchValue(value=value))


def one_of(key: Key, values: Sequence[str]) -> models.FieldCondition:
    """Condition: the field (or one element of a list field) is among `values`."""
    return models.FieldCondition(key=key.value, match=models.MatchAny(any=list(values)))


def older_than(version: int) -> models.FieldCondition:
    """Condition: the point's version is below `version`."""
    return models.FieldCondition(key=Key.VERSION.value, range=models.Range(lt=version))


def belongs_to(workspace: str, *conditions: Condition) -> models.Filter:
    """Filter: points of `workspace` that meet all `conditions`. Every read of an index starts from this."""
    return models.Filter(must=[equals(Key.WORKSPACE, workspace), *conditions])


def without_documents(within: models.Filter, documents: Iterable[UUID]) -> models.Filter:
    """Filter: what meets `within` and is of none of `documents`."""
    return models.Filter(must=[within], must_not=[one_of(Key.DOCUMENT, [str(each) for each in documents])])


def chunks_of(workspace: str, *conditions: Condition) -> models.Filter:
    """Filter: chunk points of `workspace` that meet all `conditions`."""
    return belongs_to(workspace, equals(Key.PART, Part.CHUNK.value), *conditions)
