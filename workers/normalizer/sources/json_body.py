"""Reads a JSON object of a sender."""

from typing import Any

import orjson
from pydantic import ValidationError

from infra.errors import Permanent
from schemas.dead_letters import Reason


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises Permanent: INVALID_JSON, SCHEMA_VIOLATION if it is no object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Permanent(Reason.INVALID_JSON, f"not JSON: {error}"[:300]) from error
    if not isinstance(value, dict):
        raise Permanent(Reason.SCHEMA_VIOLATION, f"a JSON object is wanted, not {type(value).__name__}")
    return value


def faults(error: ValidationError) -> str:
    """Return the places and rules that a payload breaks. Never its values: they could hold a secret."""
    told = error.errors(include_input=False, include_url=False, include_context=False)[:5]
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in told)[:1_000]
