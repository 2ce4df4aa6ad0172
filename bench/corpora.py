"""The two retrieval collections of the data folder, as documents and judged questions.

SciFact (BEIR's test split, 300 claims): CC BY-NC. LoCoMo (conversations 41 to 43, 529 questions of categories 1 to 4):
CC BY-NC. They are read from MILLRACE_TEST_DATA and never committed.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from schemas.documents import Author, Chunk, DocumentVersion
from schemas.ids import document_id, event_id
from workers.normalizer.chunk import cut

LOCOMO_TEST = ("conv-41", "conv-42", "conv-43")
"""The recipe was tuned on the other two conversations of the file."""
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Judged:
    """A question, the external ids that answer it with their gain, and spans of their texts that hold the reason."""

    workspace: str
    text: str
    relevant: Mapping[str, int]
    evidence: Mapping[str, frozenset[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """Documents and questions. `context` holds the two messages before each message, nearest first."""

    name: str
    documents: list[DocumentVersion]
    sentences: dict[str, list[tuple[int, int]]]
    questions: list[Judged]
    context: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _document(workspace: str, name: str, text: str, *, whole: bool, **fields: object) -> DocumentVersion:
    chunks = (Chunk(ordinal=0, start=0, end=len(text)),) if whole else cut(text, "text")
    values = {
        "workspace": workspace,
        "document_id": document_id(workspace, "bench", name),
        "event_id": event_id(workspace, "bench", name),
        "source": "bench",
        "connector": "generic",
        "external_id": name,
        "operation": "upsert",
        "version": 1,
        "text": text,
        "language": "en",
        "chunks": chunks,
        "received_at": _AT,
    }
    return DocumentVersion.model_validate({**values, **fields})


def scifact(folder: Path, *, whole: bool) -> Collection:
    """Read SciFact: abstracts, whole or in the pipeline's chunks, and the claims of the test split."""
    documents, sentences = [], {}
    csv.field_size_limit(1 << 30)
    with gzip.open(folder / "corpus_train.csv.gz") as packed:
        for row in csv.DictReader(io.TextIOWrapper(packed, "utf-8")):
            parts = [(single or double) for single, double in _QUOTED.findall(row["abstract"])]
            text, spans = _joined(parts)
            sentences[row["doc_id"]] = spans
            documents.append(_document("scifact", row["doc_id"], text or row["title"], whole=whole, title=row["title"]))
    return Collection("SciFact", documents, sentences, list(_claims(folder, sentences)))


def _joined(parts: list[str]) -> tuple[str, list[tuple[int, int]]]:
    text, spans = "", []
    for part in (part.encode().decode("unicode_escape") if "\\" in part and part.isascii() else part for part in parts):
        if part.strip():
            start = len(text)
            text += part + " "
            spans.append((start, start + len(part)))
    return text.rstrip(), spans


def _claims(folder: Path, sentences: Mapping[str, list[tuple[int, int]]]) -> Iterator[Judged]:
    gains: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[0].isdigit():
            gains.setdefault(fields[0], {})[fields[2]] = int(fields[3])
    for line in (folder / "queries.jsonl").read_text().splitlines():
        claim = json.loads(line)
        if claim["_id"] in gains:
            evidence = {
                name: frozenset(
                    sentences[name][at] for one in marked for at in one["sentences"] if at < len(sentences[name])
                )
                for name, marked in claim["metadata"].items()
                if name in sentences
            }
            yield Judged("scifact", claim["text"], gains[claim["_id"]], evidence)


def locomo(path: Path) -> Collection:
    """Read LoCoMo: one document per message, one workspace per conversation."""
    with gzip.open(path) as packed:
        conversations = [one for one in json.load(packed) if one["sample_id"] in LOCOMO_TEST]
    documents, sentences, questions, context = [], {}, [], {}
    for conversation in conversations:
        workspace = conversation["sample_id"]
        held = conversation["conversation"]
        sessions = [held[key] for key in held if re.fullmatch(r"session_\d+", key)]
        for session in sessions:
            for position, turn in enumerate(session):
                name, text = f"{workspace}/{turn['dia_id']}", turn["text"].strip() or "…"
                author = Author(name=turn["speaker"])
                documents.append(_document(workspace, name, text, whole=True, kind="message", authors=(author,)))
                sentences[name] = [(0, len(text))]
                context[name] = tuple(session[at]["text"] for at in (position - 1, position - 2) if at >= 0)
        for asked in conversation["qa"]:
            turns = {f"{workspace}/{turn}" for turn in asked["evidence"]} & sentences.keys()
            if asked["category"] <= 4 and turns:
                questions.append(Judged(workspace, asked["question"], dict.fromkeys(turns, 1)))
    return Collection("LoCoMo", documents, sentences, questions, context)
