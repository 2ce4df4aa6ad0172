"""The retrieval collections of the data folder, as documents and judged questions.

SciFact (BEIR's test split, 300 claims): CC BY-NC. LoCoMo (conversations 41 to 43, 529 questions of categories 1 to 4):
CC BY-NC. XQuAD in English (240 paragraphs, 1,190 questions): CC BY-SA. They are read from MILLRACE_TEST_DATA and never
committed.
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


def xquad(path: Path) -> Collection:
    """Read XQuAD in English: one document per paragraph of Wikipedia, and the questions that it answers."""
    documents, questions = [], []
    for article in json.loads(path.read_text())["data"]:
        for at, paragraph in enumerate(article["paragraphs"]):
            name = f"{article['title']}/{at}"
            documents.append(_document("xquad", name, paragraph["context"], whole=True))
            questions += [Judged("xquad", asked["question"], {name: 1}) for asked in paragraph["qas"]]
    return Collection("XQuAD", documents, {one.external_id: [] for one in documents}, questions)


CODES = (
    ("ERR-52445", "ERR-52446"), ("PPR-9087", "PPR-9078"), ("CVE-2031-40417", "CVE-2031-40471"), ("2.13.4", "2.13.14"),
    ("v2.0.0-rc.1", "v2.0.0-rc.2"), ("ERR_GATE_TIMEOUT", "ERR_GATE_TIMEIN"), ("0x8007045D", "0x8007045E"),
    ("weir_sync2.py", "weir_sync3.py"), ("/etc/weir/gate7.conf", "/etc/weir/gate8.conf"), ("b7f3e19c", "b7f3e19d"),
    ("SKF-6204/2RS", "SKF-6205/2RS"), ("10.20.30.40", "10.20.30.41"), ("M8x40", "M8x45"), ("ZKX-88412", "ZKX-88421"),
    ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"), ("4711-0815", "4711-0816"),
    ("Übergabe_Müll-12", "Übergabe_Müll-13"), ("Ä-1107", "Ä-1170"), ("max_poll_records", "max_poll_bytes"),
    ("sha-4f2a9c1", "sha-4f2a9c7"), ("AB12.CD34/EF56", "AB12.CD34/EF57"),
    ("infra/kafka/lane2.py", "infra/kafka/lane3.py"), ("#52445", "#52446"), ("getHTTPResponse2", "getHTTPResponse3"),
    ("00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5F"), ("INC0012345", "INC0012354"), ("RFC-9110", "RFC-9112"),
    ("rel_2031-09-30", "rel_2031-09-29"), ("TS-4.7b", "TS-4.7c"), ("8F.22.01-A", "8F.22.01-B"),
)  # fmt: skip
"""Codes and their twins: what differs is one or two characters."""
_CODED = ("What happened with {}?", "What does the note say about {}?", "Who dealt with {}?", "Is {} done?", "{}?")


def codes() -> Collection:
    """Return notes that differ by a code and by who wrote them, and a question about every other one of them."""
    documents, sentences, questions = [], {}, []
    keepers = ("Ilse", "Bruno", "Marta", "Otto", "Nadia", "Pavel", "Rosa", "Emil")
    for at, pair in enumerate(CODES):
        for side, code in enumerate(pair):
            keeper = keepers[(2 * at + side) % len(keepers)]
            spans, text = [], ""
            for line in (
                f"The shift leader looked through the list of the morning in hall {at % 7}.",
                f"{keeper} has closed {code} after the second look, because the gate moved as it should.",
                "The next round is in two weeks.",
            ):
                spans.append((len(text), len(text) + len(line)))
                text += f"{line} "
            name = f"note-{at}-{side}"
            documents.append(_document("codes", name, text.strip(), whole=True, title=f"Note {2 * at + side}"))
            sentences[name] = spans
        form = _CODED[at % len(_CODED)]
        evidence = {f"note-{at}-0": frozenset({sentences[f"note-{at}-0"][1]})}
        questions.append(Judged("codes", form.format(pair[0]), {f"note-{at}-0": 1}, evidence))
    return Collection("codes", documents, sentences, questions)


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
