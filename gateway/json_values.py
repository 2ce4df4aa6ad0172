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

MOST_NAMED = 1_000
"""Properties, enumerated values and alternatives of a schema. OpenAI takes 1,000 of the values and 5,000 properties
(https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas"). llama.cpp's time grows with their
square: 4 s for 1,000, and with 20,000 it answered nobody for more than four minutes."""
_COUNTED = ("properties", "enum", "anyOf", "oneOf", "allOf", "prefixItems")


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema`. Raises ValueError for one that would keep a model server from everybody else."""
    named, inside = 0, [schema]
    while inside:
        value: Any = inside.pop()
        if isinstance(value, dict):
            named += sum(len(value[key]) for key in _COUNTED if isinstance(value.get(key), (dict, list)))
            inside.extend(value.values())
        elif isinstance(value, list):
            inside.extend(value)
    if named > MOST_NAMED:
        raise ValueError(f"a schema has at most {MOST_NAMED} properties, enumerated values and alternatives")
    return schema


JsonSchema = Annotated[JsonObject, AfterValidator(_bounded)]
"""A schema that a model's words are to keep to."""

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""Of random numbers."""
MostTokens = Annotated[int, Field(ge=1, lt=2**31)]
"""Bound of an answer's length."""
