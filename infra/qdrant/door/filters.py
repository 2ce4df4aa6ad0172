"""Qdrant's filters in JSON -> the engine's filter objects. Geo conditions are not supported (501)."""

from typing import Any

from qdrant_edge import (
    FieldCondition,
    Filter,
    HasIdCondition,
    HasVectorCondition,
    IsEmptyCondition,
    IsNullCondition,
    MatchAny,
    MatchExcept,
    MatchPhrase,
    MatchPrefix,
    MatchSubstring,
    MatchText,
    MatchTextAny,
    MatchValue,
    MinShould,
    NestedCondition,
    RangeDateTime,
    RangeFloat,
    ValuesCount,
)

from infra.qdrant.door.faults import BadRequest, Malformed, building
from infra.qdrant.door.reading import Fields, flag, integer, items, point_ids, text

MAX_DEPTH = 24
"""Filters nest this deep at most: the walk below recurses, and Python's stack is what a hostile body would exhaust."""

_MATCHES: dict[str, Any] = {
    "value": MatchValue,
    "text": MatchText,
    "text_any": MatchTextAny,
    "phrase": MatchPhrase,
    "prefix": MatchPrefix,
    "substring": MatchSubstring,
    "any": MatchAny,
    "except": MatchExcept,
}
_BOUNDS = ("gte", "gt", "lte", "lt")


class _Truth:
    """A boolean that the bindings read as one.

    They try integer before boolean, and Python's True is an integer: `MatchValue(True)` would look for 1 and match no
    boolean. A numpy boolean is no integer, and they know it by the name of its type; importing numpy for that would
    cost a quarter of this process.
    """

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Truth.__module__, _Truth.__name__ = "numpy", "bool_"


def read_filter(value: object, depth: int = 0) -> Filter | None:
    """Return the engine's filter, None for null. Raises BadRequest, Malformed, Unsupported."""
    if value is None:
        return None
    if depth > MAX_DEPTH:
        raise BadRequest(f"a filter nests deeper than {MAX_DEPTH}")
    fields = Fields(value, "filter")
    clauses = {name: _conditions(fields.take(name), depth) for name in ("must", "should", "must_not")}
    at_least = _min_should(fields.take("min_should"), depth)
    fields.done()
    with building("filter"):
        return Filter(min_should=at_least, **clauses)


def _conditions(value: object, depth: int) -> list[Any] | None:
    if value is None:
        return None
    return [_condition(item, depth) for item in (value if isinstance(value, list) else [value])]


def _min_should(value: object, depth: int) -> MinShould | None:
    if value is None:
        return None
    fields = Fields(value, "min_should")
    conditions = _conditions(fields.need("conditions"), depth)
    least = integer(fields.need("min_count"), "min_should.min_count")
    fields.done()
    return MinShould(conditions or [], least)


def _condition(value: object, depth: int) -> Any:
    fields = Fields(value, "condition")
    if "key" in fields:
        return _field(fields)
    if "has_id" in fields:
        condition: Any = HasIdCondition(set(point_ids(fields.take("has_id"), "has_id")))
    elif "has_vector" in fields:
        condition = HasVectorCondition(text(fields.take("has_vector"), "has_vector"))
    elif "is_empty" in fields or "is_null" in fields:
        condition = _absence(fields)
    elif "nested" in fields:
        condition = _nested(fields.take("nested"), depth)
    else:
        return read_filter(value, depth + 1)
    fields.done()
    return condition


def _absence(fields: Fields) -> IsEmptyCondition | IsNullCondition:
    kind: Any = IsEmptyCondition if "is_empty" in fields else IsNullCondition
    inner = Fields(fields.take("is_empty", fields.take("is_null")), "condition")
    key = text(inner.need("key"), "key")
    inner.done()
    with building(f"key `{key}`"):
        condition: IsEmptyCondition | IsNullCondition = kind(key)
        return condition


def _nested(value: object, depth: int) -> NestedCondition:
    fields = Fields(value, "nested")
    key = text(fields.need("key"), "nested.key")
    inner = read_filter(fields.need("filter"), depth + 1)
    fields.done()
    if inner is None:
        raise Malformed("nested: missing field `filter`")
    with building(f"key `{key}`"):
        return NestedCondition(key, inner)


def _field(fields: Fields) -> FieldCondition:
    key = text(fields.need("key"), "key")
    empty, null = fields.take("is_empty"), fields.take("is_null")
    with building(f"condition on `{key}`"):
        condition = FieldCondition(
            key,
            match=_match(fields.take("match")),
            range=_range(fields.take("range")),
            values_count=_values_count(fields.take("values_count")),
            is_empty=None if empty is None else flag(empty, "is_empty"),
            is_null=None if null is None else flag(null, "is_null"),
        )
    fields.done()
    return condition


def _match(value: object) -> Any:
    if value is None:
        return None
    fields = Fields(value, "match")
    for name, kind in _MATCHES.items():
        if name in fields:
            operand = fields.take(name)
            fields.done()
            if isinstance(operand, bool):
                operand = _Truth(operand)
            return kind(items(operand, f"match.{name}") if name in ("any", "except") else operand)
    fields.done()
    raise Malformed(f"match: expected one of {', '.join(_MATCHES)}")


def _range(value: object) -> RangeFloat | RangeDateTime | None:
    if value is None:
        return None
    fields = Fields(value, "range")
    bounds = {name: fields.take(name) for name in _BOUNDS}
    fields.done()
    if any(isinstance(bound, str) for bound in bounds.values()):
        return RangeDateTime(**bounds)
    return RangeFloat(**bounds)


def _values_count(value: object) -> ValuesCount | None:
    if value is None:
        return None
    fields = Fields(value, "values_count")
    bounds = {name: fields.take(name) for name in _BOUNDS}
    fields.done()
    return ValuesCount(**bounds)
