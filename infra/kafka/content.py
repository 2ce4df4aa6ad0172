"""Shows the record of a dead letter: text where it is text, base64 where it is not."""

import base64
from typing import Any

from infra.errors import Permanent
from infra.kafka.codec import dataref
from infra.kafka.redrive import GoneError, LetterReader, Place
from schemas.dead_letters import DeadLetter

SHOWN_BYTES = 4_096


async def shown(letters: LetterReader, place: Place, *, full: bool) -> dict[str, Any]:
    """Return the record of the letter at `place` for JSON; `{"gone": why}` where the log no longer holds it.

    Raises Transient("kafka").
    """
    try:
        letter = await letters.read(place)
    except (GoneError, Permanent) as error:
        return {"gone": str(error)}
    return content_of(letter, full=full)


def content_of(letter: DeadLetter, *, full: bool) -> dict[str, Any]:
    """Return key, headers and body; the body's first `SHOWN_BYTES` bytes unless `full`.

    A large body stands in the object store: `reference` names it, and a redrive sends the reference again.
    """
    whole = letter.value or b""
    value = whole if full else whole[:SHOWN_BYTES]
    text, encoding = _legible(value, cut=len(value) < len(whole))
    return {
        "key": _legible(letter.key)[0] if letter.key is not None else None,
        "headers": [
            {"name": header.name, "value": None if header.value is None else _legible(header.value)[0]}
            for header in letter.headers
        ],
        "value": None if letter.value is None else text,
        "encoding": encoding,
        "bytes": len(whole),
        "cut": len(value) < len(whole),
        "reference": dataref([(header.name, header.value) for header in letter.headers]) or None,
    }


def _legible(value: bytes, *, cut: bool = False) -> tuple[str, str]:
    """Return `value` as text if it is UTF-8, else as base64. A cut may fall inside a character, which is left out."""
    for spare in range(4 if cut and len(value) > 4 else 1):  # noqa: PLR2004 - UTF-8 has up to four bytes a character
        try:
            return value[: len(value) - spare].decode(), "text"
        except UnicodeDecodeError:
            continue
    return base64.b64encode(value).decode(), "base64"
