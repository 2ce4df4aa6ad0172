"""Values that are passed on as they came, to model servers and writers of JSON that take 64 bits of a number."""

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field


def _writable(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value`. Raises ValueError for what could be read and cannot be written: half of a surrogate pair, an
    integer beyond 64 bits, nesting without end.
    """
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError("cannot be passed on as JSON: a lone surrogate, a huge number, or too deep") from error
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_writable)]
"""An object whose inside is for others to understand."""

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""Of random numbers."""
MostTokens = Annotated[int, Field(ge=1, lt=2**31)]
"""Bound of an answer's length."""
