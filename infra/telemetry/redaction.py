"""Takes secrets out of whatever is about to be logged, by the name of the field and by the shape of the text."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token$|authorization|api[_-]?key|credential|private[_-]?key|cookie|signature|dsn$",
    re.IGNORECASE,
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host, also with an empty user (redis://:password@host)
    (re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?=@)", re.IGNORECASE), rf"\g<kept>{HIDDEN}"),
    (re.compile(r"(?P<kept>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\g<kept>{HIDDEN}"),
    # our own API keys keep their public prefix: it is how an operator finds the key to revoke
    (re.compile(r"(?P<kept>\bmr_[0-9A-Za-z]+_)[\w-]{8,}"), rf"\g<kept>{HIDDEN}"),
    # Standard Webhooks signing secrets
    (re.compile(r"\bwhsec_[\w+/=-]{8,}"), HIDDEN),
)


def redact(value: Any, name: str = "") -> Any:
    """Return `value` without secrets: whole under a secret's name, in part where a text looks like one.

    Mappings and sequences are redacted within; numbers, booleans and None pass, whatever their name.
    """
    if isinstance(value, Mapping):
        return {key: redact(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, name) for inner in value]
    if isinstance(value, bytes):
        return HIDDEN if name and _SECRET_NAME.search(name) else f"{len(value)} bytes"
    if value is None or isinstance(value, bool | int | float):
        return value
    if name and _SECRET_NAME.search(name) and value != "":
        return HIDDEN
    return redact_text(value if isinstance(value, str) else str(value))


def redact_text(text: str) -> str:
    """Return `text` with address passwords, bearer tokens, API keys and signing secrets hidden."""
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text
