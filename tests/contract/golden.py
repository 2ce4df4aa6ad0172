"""The golden messages: one file per case and schema version, with its headers beside it."""

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemas.chat
import schemas.chat_cancel
import schemas.conversations
import schemas.dead_letters
import schemas.documents
import schemas.embedding
import schemas.feedback
import schemas.interactions
import schemas.raw
import schemas.receipts
from schemas.event import Event

FOLDER = Path(schemas.chat.__file__).parent / "golden"
FINGERPRINTS = FOLDER / "fingerprints.json"
MODULES = (
    schemas.raw,
    schemas.documents,
    schemas.receipts,
    schemas.dead_letters,
    schemas.chat,
    schemas.chat_cancel,
    schemas.embedding,
    schemas.conversations,
    schemas.feedback,
    schemas.interactions,
)


@dataclass(frozen=True, slots=True)
class Golden:
    """One message as it was written once, for ever readable."""

    schema: str
    version: int
    case: str
    body: bytes
    headers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.schema}/{self.version}/{self.case}"


def schemas_by_name() -> dict[str, type[Event]]:
    """Return every event schema, by its name."""
    found = (cls for module in MODULES for _, cls in inspect.getmembers(module, inspect.isclass))
    return {cls.schema_name: cls for cls in found if issubclass(cls, Event) and cls is not Event}


def goldens() -> Iterator[Golden]:
    """Yield every golden message."""
    for path in sorted(FOLDER.glob("*/*/*.json")):
        if not path.name.endswith(".headers.json"):
            headers = json.loads(path.with_suffix(".headers.json").read_text())
            version = int(path.parent.name)
            yield Golden(path.parent.parent.name, version, path.stem, path.read_bytes(), headers)


def fingerprint(schema: type[Event]) -> str:
    """Return a hash of what a schema accepts: names, types and defaults of fields, without the prose."""
    return hashlib.sha256(json.dumps(_bare(schema.model_json_schema()), sort_keys=True).encode()).hexdigest()[:16]


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        prose = {"title", "description"} if isinstance(value.get("title", value.get("description")), str) else set()
        return {key: _bare(inner) for key, inner in value.items() if key not in prose}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value
