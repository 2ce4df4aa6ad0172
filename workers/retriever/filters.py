"""Turns the asker's filters into conditions of the index."""

import math
import re
from collections.abc import Iterator, Mapping

from qdrant_client import models

from infra.errors import Permanent
from infra.qdrant.points import Condition as PointCondition
from infra.qdrant.points import Key, chunks_of, one_of
from schemas.dead_letters import Reason
from schemas.filters import LARGEST, Condition, Operator, Scalar, SearchFilters, moment

EXACT = 2**53
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_FRACTION = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300}|(?=[eE]))(?:[eE][+-]?[0-9]{1,2})?")


def searchable(workspace: str, filters: SearchFilters) -> models.Filter:
    """Return the filter of a search: chunks of `workspace`, within `filters`.

    Values of one field are alternatives, fields add up. Raises Permanent for a metadata name that no path can hold.
    """
    return chunks_of(workspace, *_conditions(filters))


def _conditions(filters: SearchFilters) -> Iterator[PointCondition]:
    for key, values in (
        (Key.SOURCE, filters.sources),
        (Key.CONNECTOR, filters.connectors),
        (Key.KIND, filters.kinds),
        (Key.LANGUAGE, filters.languages),
        (Key.AUTHORS, tuple(author.strip().lower() for author in filters.authors)),
        (Key.DOCUMENT, tuple(str(document) for document in filters.documents)),
    ):
        if values:
            yield one_of(key, values)
    if filters.updated_from or filters.updated_to:
        yield models.FieldCondition(
            key=Key.UPDATED_AT.value,
            range=models.Range(
                gte=filters.updated_from.timestamp() if filters.updated_from else None,
                lte=filters.updated_to.timestamp() if filters.updated_to else None,
            ),
        )
    for name, condition in filters.metadata.items():
        yield _metadata(f'{Key.METADATA.value}."{_named(name)}"', condition)


def _named(name: str) -> str:
    if not name or '"' in name or "\\" in name:
        raise Permanent(Reason.SCHEMA_VIOLATION, "a metadata filter's name is empty or holds a quote or backslash")
    return name


def _metadata(path: str, condition: Condition) -> models.FieldCondition | models.Filter:
    """Condition: what stands at `path`, or one element of it, meets `condition` (`schemas.filters`)."""
    if isinstance(condition, dict):
        return _within(path, condition)
    values = condition if isinstance(condition, tuple) else (condition,)
    return models.Filter(should=[each for value in values for each in _equal(path, value)])


def _equal(path: str, value: Scalar) -> Iterator[models.FieldCondition]:
    """Yield what `value` may match: itself in its type, and of a text also the number or truth value that it spells."""
    if isinstance(value, bool):
        yield models.FieldCondition(key=path, match=models.MatchValue(value=value))
    elif isinstance(value, int | float):
        yield _number(path, value)
    else:
        yield models.FieldCondition(key=path, match=models.MatchValue(value=value))
        if _WHOLE.fullmatch(value) and abs(int(value)) <= LARGEST:
            yield _number(path, int(value))
        elif _FRACTION.fullmatch(value) and math.isfinite(float(value)):
            yield _number(path, float(value))
        elif value.lower() in ("true", "false"):
            yield models.FieldCondition(key=path, match=models.MatchValue(value=value.lower() == "true"))


def _number(path: str, value: float) -> models.FieldCondition:
    """A range of one point holds whole numbers and fractions alike; its ends are floats, which have 53 bits."""
    if isinstance(value, int) and abs(value) > EXACT:
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))
    return models.FieldCondition(key=path, range=models.Range(gte=value, lte=value))


def _within(path: str, bounds: Mapping[Operator, int | float | str]) -> models.FieldCondition:
    if any(isinstance(bound, str) for bound in bounds.values()):
        # Up to a day is up to its end, and after a day is after its end.
        times = {name: moment(str(bound), end=name in ("lte", "gt")) for name, bound in bounds.items()}
        return models.FieldCondition(key=path, range=models.DatetimeRange.model_validate(times))
    return models.FieldCondition(key=path, range=models.Range.model_validate(bounds))
