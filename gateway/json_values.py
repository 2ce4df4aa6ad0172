"""JSON that is passed on as it came."""

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator


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
