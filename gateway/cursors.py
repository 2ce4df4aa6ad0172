"""Cursors of paged lists: where the page before ended, opaque to clients."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from gateway.problems import Code, Problem

Place = TypeVar("Place")


def cursor_of(*parts: str) -> str:
    """Return the cursor of a place."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


def read_cursor(cursor: str, parse: Callable[[list[Any]], Place]) -> Place:
    """Return the place in `cursor`, which `parse` makes of its parts (ValueError, TypeError: not one of ours).

    Raises Problem(INVALID_REQUEST).
    """
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(parts, list):
            return parse(parts)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        pass  # whatever is wrong with it, it is not one of ours
    raise Problem(Code.INVALID_REQUEST, errors=[{"pointer": "query/cursor", "detail": "not a cursor of this API"}])
