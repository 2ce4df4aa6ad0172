"""Makes passages of payloads."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from infra.models.encoder import FloatArray
from infra.qdrant.points import Key, read_sentences
from schemas.chat import Passage, Sentence
from workers.retriever.fuse import Candidate


def passage_of(number: int, candidate: Candidate, payload: Mapping[str, Any], question: FloatArray) -> Passage:
    """Return passage `number`. `question` is the unit vector [dimension] that the sentences' cosines are taken with."""
    updated_at = payload.get(Key.UPDATED_AT)
    return Passage(
        number=number,
        document_id=UUID(payload[Key.DOCUMENT]),
        version=payload[Key.VERSION],
        ordinal=payload[Key.ORDINAL],
        start=payload[Key.START],
        end=payload[Key.END],
        text=payload[Key.TEXT],
        title=payload.get(Key.TITLE) or "",
        heading=payload.get(Key.HEADING) or "",
        url=payload.get(Key.URL) or "",
        source=payload.get(Key.SOURCE) or "",
        connector=payload.get(Key.CONNECTOR) or "",
        kind=payload.get(Key.KIND) or "",
        authors=tuple(payload.get(Key.AUTHORS) or ()),
        updated_at=None if updated_at is None else datetime.fromtimestamp(updated_at, UTC),
        score=candidate.score,
        cosine=candidate.cosine,
        sentences=sentences_of(payload, question),
    )


def sentences_of(payload: Mapping[str, Any], question: FloatArray) -> tuple[Sentence, ...]:
    """Return the chunk's sentences with their cosines, 0 for all if the point has no sentence vectors of that size."""
    spans, vectors = read_sentences(payload)
    if vectors.shape != (len(spans), len(question)):
        return tuple(Sentence(start=start, end=end, cosine=0.0) for start, end in spans)
    # A number that is not one would be written as null, and no consumer could read the prompt.
    cosines = np.nan_to_num(vectors @ question)
    return tuple(
        Sentence(start=start, end=end, cosine=round(float(cosine), 4))
        for (start, end), cosine in zip(spans, cosines, strict=True)
    )
