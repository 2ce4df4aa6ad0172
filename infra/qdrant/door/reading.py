"""Takes JSON objects apart without losing a member: what nobody took is refused by name, never ignored."""

import math
from typing import Any
from uuid import UUID

from infra.qdrant.door.faults import Invalid, Malformed, Unsupported

PointId = int | UUID | str
"""As the engine takes it; strings never leave `point_id`."""
MAX_INTEGER_ID = 2**64 - 1
F32_MAX = 3.4028234663852886e38


class Fields:
    """The members of one JSON object. Read with `take` and `need`, then call `done`."""

    __slots__ = ("_left", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{where}: expected an object")
        self._left: dict[str, Any] = {name: member for name, member in value.items() if member is not None}
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, default: Any = None) -> Any:
        """Return a member, or `default` if it is absent or null."""
        return self._left.pop(name, default)

    def need(self, name: str) -> Any:
        """Return a member. Raises Malformed if it is absent or null."""
        if name not in self._left:
            raise Malformed(f"{self.where}: missing field `{name}`")
        return self._left.pop(name)

    def done(self) -> None:
        """Raises Unsupported naming the members that nobody took."""
        if self._left:
            raise Unsupported(f"{self.where}: {', '.join(sorted(self._left))}")


def text(value: object, where: str) -> str:
    """Return a string member. Raises Malformed."""
    if not isinstance(value, str):
        raise Malformed(f"{where}: expected a string")
    return value


def flag(value: object, where: str) -> bool:
    """Return a boolean member. Raises Malformed."""
    if not isinstance(value, bool):
        raise Malformed(f"{where}: expected true or false")
    return value


def integer(value: object, where: str, low: int = 0) -> int:
    """Return an integer of at least `low` that fits 64 bits. Raises Malformed or Invalid."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{where}: expected an integer")
    if not low <= value <= MAX_INTEGER_ID:
        raise Invalid(f"{where}: value {value} invalid, must be {low} or larger")
    return value


def number(value: object, where: str) -> float:
    """Return a finite number that fits a 32-bit float. Raises Malformed or Invalid."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Malformed(f"{where}: expected a number")
    if not math.isfinite(value) or abs(value) > F32_MAX:
        raise Invalid(f"{where}: the number is not finite")
    return float(value)


def items(value: object, where: str) -> list[Any]:
    """Return a list member. Raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(f"{where}: expected a list")
    return value


def texts(value: object, where: str) -> list[str]:
    """Return a list of strings. Raises Malformed."""
    return [text(item, where) for item in items(value, where)]


def one_of(value: object, where: str, allowed: tuple[str, ...]) -> str:
    """Return a string of a closed set. Raises Malformed naming the set."""
    if not isinstance(value, str) or value not in allowed:
        raise Malformed(f"{where}: expected one of {', '.join(allowed)}")
    return value


def point_id(value: object) -> PointId:
    """Return a point id: an unsigned 64-bit integer or a UUID in any usual spelling. Raises Malformed."""
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError as error:
            raise Malformed(f"value {value[:80]} is not a valid point ID: use an unsigned integer or a UUID") from error
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER_ID:
        return value
    raise Malformed(f"value {str(value)[:80]} is not a valid point ID: use an unsigned integer or a UUID")


def point_ids(value: object, where: str) -> list[PointId]:
    """Return a list of point ids. Raises Malformed."""
    return [point_id(item) for item in items(value, where)]


def payload(value: object, where: str) -> dict[str, Any]:
    """Return a payload: any JSON object. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{where}: expected an object")
    return value
