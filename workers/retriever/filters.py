"""Turns the asker's filters into conditions of the index."""

from collections.abc import Iterator

from qdrant_client import models

from infra.errors import Permanent
from infra.qdrant.points import Condition, Key, chunks_of, one_of
from schemas.chat import SearchFilters
from schemas.dead_letters import Reason


def searchable(workspace: str, filters: SearchFilters) -> models.Filter:
    """Return the filter of a search: chunks of `workspace`, within `filters`.

    Values of one field are alternatives, fields add up. Raises Permanent for a metadata name that no path can hold.
    """
    return chunks_of(workspace, *_conditions(filters))


def _conditions(filters: SearchFilters) -> Iterator[Condition]:
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
    for name, value in filters.metadata.items():
        yield _metadata(name, value)


def _metadata(name: str, value: str) -> models.Filter:
    """Condition: `metadata[name]`, or one element of it, is `value`, read as text, whole number or truth value.

    Filters come as text, metadata as the source typed it; a number with a fraction cannot be matched exactly.
    """
    if not name or '"' in name or "\\" in name:
        raise Permanent(Reason.SCHEMA_VIOLATION, "a metadata filter's name is empty or holds a quote or backslash")
    path = f'{Key.METADATA.value}."{name}"'
    wanted: list[str | int | bool] = [value]
    if value.removeprefix("-").isascii() and value.removeprefix("-").isdigit() and len(value) <= 18:  # noqa: PLR2004 - fits 64 bits
        wanted.append(int(value))
    if value.lower() in ("true", "false"):
        wanted.append(value.lower() == "true")
    return models.Filter(should=[models.FieldCondition(key=path, match=models.MatchValue(value=one)) for one in wanted])
