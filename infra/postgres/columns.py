"""Shapes values for set-based statements: a batch goes to Postgres as one array per column, taken apart by `unnest`."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson


def columns(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the columns of `rows`, none if there are no rows. Raises ValueError if rows differ in length."""
    return list(zip(*rows, strict=True))


def array_text(items: Iterable[object]) -> str:
    """Return an array literal for a cast: `unnest` cannot take arrays of different lengths apart.

    For items whose text needs no quotes there, such as UUIDs and numbers.
    """
    return "{" + ",".join(map(str, items)) + "}"


def json_text(value: Any) -> str:
    """Return `value` as JSON that a cast to jsonb takes."""
    return orjson.dumps(_storable(value)).decode()


def storable(text: str) -> str:
    """Return `text` as Postgres takes it: U+0000 becomes U+FFFD. The length stays, and with it every offset."""
    return text.replace("\x00", "\ufffd")


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(name): _storable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_storable(inner) for inner in value]
        case _:
            return value
