"""Payload indexes in JSON -> the engine's, and back for a collection's description."""

from typing import TYPE_CHECKING, Any

from qdrant_edge import (
    BoolIndexParams,
    DatetimeIndexParams,
    FloatIndexParams,
    IntegerIndexParams,
    KeywordIndexParams,
    PayloadSchemaType,
    TextIndexParams,
    TokenizerType,
    UuidIndexParams,
)

from infra.qdrant.door.faults import Malformed, Unsupported, building
from infra.qdrant.door.reading import Fields

if TYPE_CHECKING:
    # the wheel declares it and does not export it
    from qdrant_edge import PayloadIndexInfo

_COMMON = ("on_disk", "enable_hnsw")
_TYPES: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "keyword": (PayloadSchemaType.Keyword, KeywordIndexParams, (*_COMMON, "is_tenant", "prefix")),
    "integer": (PayloadSchemaType.Integer, IntegerIndexParams, (*_COMMON, "lookup", "range", "is_principal")),
    "float": (PayloadSchemaType.Float, FloatIndexParams, (*_COMMON, "is_principal")),
    "bool": (PayloadSchemaType.Bool, BoolIndexParams, _COMMON),
    "datetime": (PayloadSchemaType.Datetime, DatetimeIndexParams, (*_COMMON, "is_principal")),
    "uuid": (PayloadSchemaType.Uuid, UuidIndexParams, (*_COMMON, "is_tenant")),
    "text": (
        PayloadSchemaType.Text,
        TextIndexParams,
        (*_COMMON, "tokenizer", "min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching"),
    ),
}
_TOKENIZERS = {
    "prefix": TokenizerType.Prefix,
    "whitespace": TokenizerType.Whitespace,
    "word": TokenizerType.Word,
    "multilingual": TokenizerType.Multilingual,
}


def read_index(value: object) -> Any:
    """Return the engine's schema of `field_schema`: a type's name or its parameters. Raises Malformed, Unsupported."""
    if isinstance(value, str):
        return _type(value)[0]
    fields = Fields(value, "field_schema")
    _, params, names = _type(fields.need("type"))
    given = {name: fields.take(name) for name in names if name in fields}
    fields.done()
    if "tokenizer" in given:
        if given["tokenizer"] not in _TOKENIZERS:
            raise Malformed(f"field_schema.tokenizer: expected one of {', '.join(_TOKENIZERS)}")
        given["tokenizer"] = _TOKENIZERS[given["tokenizer"]]
    with building("field_schema"):
        return params(**given)


def _type(name: object) -> tuple[Any, Any, tuple[str, ...]]:
    if not isinstance(name, str) or name not in _TYPES:
        raise Unsupported(f"payload index of type {name}")
    return _TYPES[name]


def describe_index(info: "PayloadIndexInfo") -> dict[str, Any]:
    """Return an index as Qdrant's PayloadIndexInfo."""
    name = next(name for name, (kind, _, _) in _TYPES.items() if kind == info.data_type)
    described: dict[str, Any] = {"data_type": name, "points": info.points}
    if info.params is not None:
        members = {member: getattr(info.params, member) for member in _TYPES[name][2]}
        if "tokenizer" in members:
            members["tokenizer"] = next(key for key, kind in _TOKENIZERS.items() if kind == members["tokenizer"])
        described["params"] = {"type": name, **{key: value for key, value in members.items() if value is not None}}
    return described
