"""What a search may return, beyond the workspace, which always applies.

Values keep their types: the number 2031 is not the text "2031". A filter's text also stands for the number or truth
value that it spells, since forms and command lines know only text. A list holds alternatives; an object with `gte`,
`gt`, `lte`, `lt` is a range over numbers or over days and times. A moment without a zone is one of UTC; a day is all of
it, in UTC.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.event import Timestamp, Value

Scalar = bool | int | float | str
Operator = Literal["gte", "gt", "lte", "lt"]
OPERATORS: Final = ("gte", "gt", "lte", "lt")

MOST_CONDITIONS = 32
MOST_ALTERNATIVES = 256
LONGEST_NAME = 200
LARGEST = 2**63 - 1
"""Largest whole number that a store keeps as one; a greater one would be rounded and match its neighbours."""


def moment(text: str, *, end: bool = False) -> datetime:
    """Return the moment that `text` names, in UTC: ISO 8601, a zone left out is UTC, a day is its first moment.

    With `end` a day is its last moment (microseconds are the finest). Raises ValueError.
    """
    text = text.strip()
    if len(text) == len("2031-01-05") and "T" not in text:
        day = date.fromisoformat(text)
        return datetime.combine(day, time.max if end else time.min, UTC)
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _moment(value: object, *, end: bool) -> object:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if value is None:
        return None
    if not isinstance(value, str):  # pydantic reports a ValueError of a validator, and lets a TypeError through
        raise ValueError("a day or a time is wanted as text, as 2031-01-05 or 2031-01-05T10:00:00Z")  # noqa: TRY004
    try:
        return moment(value, end=end)
    except (ValueError, OverflowError) as error:
        raise ValueError("not a day or a time of ISO 8601, as 2031-01-05 or 2031-01-05T10:00:00Z") from error


def _name(value: object) -> object:
    if isinstance(value, str) and (not value or '"' in value or "\\" in value):
        raise ValueError("a metadata name that is filtered by is not empty and holds no quote and no backslash")
    return value


def _condition(value: object) -> object:
    """Return a condition as it is. Raises ValueError with what is wrong with it, in words."""
    if isinstance(value, Mapping):
        return _range(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _scalar(value)
    if not 0 < len(value) <= MOST_ALTERNATIVES:
        raise ValueError(f"a list of alternatives holds 1 to {MOST_ALTERNATIVES} values")
    return tuple(_scalar(each) for each in value)


def _scalar(value: object) -> object:
    if value is None:
        raise ValueError("null matches nothing: leave the name out")
    if isinstance(value, Mapping | list | tuple) or not isinstance(value, bool | int | float | str):
        raise ValueError("a text, a number, true or false is wanted, a list of them, or a range")  # noqa: TRY004
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is finite")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("a whole number fits 64 bits")
    return value


def _range(value: Mapping[Any, object]) -> object:
    if not value or set(value) - set(OPERATORS):
        raise ValueError(f"a range has one or more of {', '.join(OPERATORS)}, and nothing else")
    bounds = [_scalar(bound) for bound in value.values()]
    if any(isinstance(bound, bool) for bound in bounds):
        raise ValueError("a range is over numbers or over days and times, not over true and false")
    texts = [bound for bound in bounds if isinstance(bound, str)]
    if texts and len(texts) < len(bounds):
        raise ValueError("the bounds of a range are all numbers or all days and times")
    for text in texts:
        _moment(text, end=False)
    return dict(value)


MetadataName = Annotated[str, StringConstraints(max_length=LONGEST_NAME), BeforeValidator(_name)]
Condition = Annotated[
    Scalar | tuple[Scalar, ...] | dict[Operator, int | float | str],
    BeforeValidator(_condition),
]


class SearchFilters(Value):
    """What a search may return. Empty means no restriction; values of one field are alternatives, fields add up."""

    sources: tuple[str, ...] = ()
    connectors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    documents: tuple[UUID, ...] = ()
    updated_from: Annotated[Timestamp | None, BeforeValidator(lambda value: _moment(value, end=False))] = None
    """ISO 8601; without a zone UTC, a day from its first moment on."""
    updated_to: Annotated[Timestamp | None, BeforeValidator(lambda value: _moment(value, end=True))] = None
    """The same; a day up to its last moment."""
    metadata: dict[MetadataName, Condition] = Field(default_factory=dict, max_length=MOST_CONDITIONS)
    """Name to a value, alternatives, or a range of `gte`, `gt`, `lte`, `lt` over numbers or over days and times."""
