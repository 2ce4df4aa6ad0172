"""Cuts the answers that Millrace gives out of OpenAI's description of its API, for the tests to check against.

    python -m tests.openai_schema.cut openapi.yaml

writes `answers.json` beside this file: the schemas of the answers with all that they refer to, without prose and
examples, one schema a line. What JSON Schema does not know is said in its words: OpenAPI 3.0's `nullable`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOTS = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "Response",
    "ResponseStreamEvent",
    "ListModelsResponse",
    "Model",
    "CreateEmbeddingResponse",
    "ErrorResponse",
)
ANSWERS = Path(__file__).with_name("answers.json")
_PROSE = frozenset({"description", "example", "examples", "title", "externalDocs"})
_NAMING = frozenset({"properties", "$defs"})
"""Keywords whose keys are names of the API and not keywords."""


def refs(value: Any) -> set[str]:
    """Return the names of the schemas that `value` refers to."""
    if isinstance(value, list):
        return {name for each in value for name in refs(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
    return own | {name for each in value.values() for name in refs(each)}


def plain(value: Any, *, names: bool = False) -> Any:
    """Return a schema without prose, in the words of JSON Schema. `names`: the keys are names."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: plain(each, names=key in _NAMING and not names)
        for key, each in value.items()
        if names or (key not in _PROSE and key not in ("nullable", "discriminator") and not key.startswith("x-"))
    }
    if value.get("nullable") is True and not names:
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of the answers by name."""
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    waiting = set(ROOTS)
    while waiting:
        found |= waiting
        waiting = {name for each in waiting for name in refs(schemas[each])} - found
    return {name: plain(schemas[name]) for name in sorted(found)}


def main() -> None:
    document = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    lines = [f"{json.dumps(name)}: {json.dumps(schema)}" for name, schema in cut(document).items()]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
