"""Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. Signed is
`id.timestamp.body` over the raw bytes, which the published Python library cannot do for a body that is not UTF-8.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import unquote

from gateway.problems import Code
from gateway.signatures.arrival import Arrival, any_equal, as_subject, parsed, required

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"

TOLERANCE_S = 300
"""How far a sender's clock may be off, and how old a replayed delivery may be: the specification's five minutes."""

_PREFIX = "whsec_"
_VERSION = "v1,"
_MAX_SIGNATURES = 16
_MAX_DIGITS = 15

_CLOUD_EVENT = "ce-"
_MAX_ATTRIBUTES = 32
_MAX_ATTRIBUTE = 1_000


def check(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> Code | None:
    """Return why the delivery cannot be trusted, None if one of `secrets` gives one of its signatures.

    The signature comes first: only the sender may learn that its clock is wrong.
    """
    identity, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not (identity and timestamp and headers.get(SIGNATURE)):
        return Code.MISSING_SIGNATURE
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_DIGITS):
        return Code.INVALID_SIGNATURE
    signed = f"{identity}.{timestamp}.".encode() + body
    wanted = (hmac.new(_key(secret), signed, hashlib.sha256).digest() for secret in secrets)
    if not any_equal(_candidates(headers[SIGNATURE]), wanted):
        return Code.INVALID_SIGNATURE
    return Code.STALE_TIMESTAMP if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S else None


def describe(headers: Mapping[str, str], body: bytes) -> Arrival:
    """Return delivery, subject and the CloudEvents attributes of binary mode (`ce-*` headers). Raises Problem."""
    attributes = {name: value[:_MAX_ATTRIBUTE] for name, value in headers.items() if name.startswith(_CLOUD_EVENT)}
    kept = dict(list(attributes.items())[:_MAX_ATTRIBUTES])
    return Arrival(required(headers, ID), _subject(kept, body), kept)


def _subject(attributes: Mapping[str, str], body: bytes) -> str:
    """CloudEvents `subject`, else what plain JSON calls its document. Only the key hangs on it."""
    # Percent-encoded in a header, not so in a body: one subject has one key.
    stated = as_subject(unquote(attributes.get("ce-subject", "")))
    if stated:
        return stated
    payload = parsed(body)
    data = payload.get("data")
    for place in (payload, data if isinstance(data, dict) else {}):
        for name in ("subject", "external_id", "id"):
            found = as_subject(place.get(name, "")) if "specversion" not in place or name == "subject" else ""
            if found:
                return found
    return ""


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX))


def _candidates(header: str) -> list[bytes]:
    """Return the symmetric signatures of a space-separated list; other versions and broken entries are passed over."""
    digests = []
    for entry in header.split(" ")[:_MAX_SIGNATURES]:
        if entry.startswith(_VERSION):
            try:
                digests.append(base64.b64decode(entry.removeprefix(_VERSION), validate=True))
            except (binascii.Error, ValueError):
                continue
    return digests
