"""What a webhook says about itself, once its signature is known to be good."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.problems import Code, Problem
from schemas.ids import name_of

MAX_DELIVERY = 500
MAX_SUBJECT = 2_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """Identity of a delivery. `subject` is what it is about, as far as the door can tell: it only decides the key."""

    delivery: str
    subject: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def any_equal(candidates: Iterable[bytes], wanted: Iterable[bytes]) -> bool:
    """Compare every candidate with every wanted digest in constant time, without stopping at the first hit."""
    held = list(wanted)
    return any([hmac.compare_digest(candidate, digest) for candidate in candidates for digest in held])  # noqa: C419


def required(headers: Mapping[str, str], name: str) -> str:
    """Return a header that identifies the delivery. Raises Problem(INVALID_HEADER)."""
    value = headers.get(name, "").strip()
    if not value or len(value) > MAX_DELIVERY or not value.isprintable():
        raise Problem(Code.INVALID_HEADER, f"header {name} is missing, over {MAX_DELIVERY} characters or not printable")
    return value


def parsed(body: bytes) -> dict[str, Any]:
    """Return the body's JSON object, empty for anything else: the normalizer dead-letters what cannot be read."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def as_subject(*parts: object) -> str:
    """Join what identifies a document, empty if a part is missing."""
    texts = [name_of(str(part)) for part in parts if isinstance(part, str | int) and not isinstance(part, bool)]
    texts = [text for text in texts if text]
    subject = "/".join(texts) if len(texts) == len(parts) else ""
    return subject if len(subject) <= MAX_SUBJECT and subject.isprintable() else ""
