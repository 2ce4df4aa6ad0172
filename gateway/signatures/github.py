"""GitHub webhooks: `X-Hub-Signature-256`, HMAC-SHA256 over the raw body.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries. GitHub signs neither a time nor the
delivery id, so there is no staleness to check; a redelivery repeats `X-GitHub-Delivery` and so has the same event id.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.problems import Code
from gateway.signatures.arrival import Arrival, any_equal, as_subject, parsed, required

SIGNATURE = "x-hub-signature-256"
DELIVERY = "x-github-delivery"
EVENT = "x-github-event"
_PREFIX = "sha256="

_SUBJECTS = ("comment", "review", "issue", "pull_request", "discussion", "release", "milestone", "label", "alert")
"""What an event is about, the most particular first: a comment's event also carries the issue."""


def check(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> Code | None:  # noqa: ARG001
    """Return why the delivery cannot be trusted, None if one of `secrets` gives its signature."""
    signature = headers.get(SIGNATURE, "")
    if not signature:
        return Code.MISSING_SIGNATURE
    candidate = signature.removeprefix(_PREFIX).encode() if signature.startswith(_PREFIX) else b""
    wanted = (hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets)
    return None if any_equal([candidate], wanted) else Code.INVALID_SIGNATURE


def describe(headers: Mapping[str, str], body: bytes) -> Arrival:
    """Return delivery, subject and event name. Raises Problem(INVALID_HEADER) if GitHub's own headers are missing."""
    event = required(headers, EVENT)
    return Arrival(required(headers, DELIVERY), _subject(body), {EVENT: event})


def _subject(body: bytes) -> str:
    payload = parsed(body)
    repository = payload.get("repository")
    place = repository.get("id", "") if isinstance(repository, dict) else ""
    for kind in _SUBJECTS:
        about = payload.get(kind)
        if isinstance(about, dict):
            return as_subject(place or 0, kind, about.get("id", about.get("number", about.get("name"))))
    return as_subject(place, payload.get("ref", "")) or as_subject(place)
