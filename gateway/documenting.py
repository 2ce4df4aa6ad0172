"""What the OpenAPI document says about errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from gateway.problems import MEDIA_TYPE, Code, ProblemBody

_SCHEMAS = "#/components/schemas/"
_PROBLEM = {"schema": {"$ref": f"{_SCHEMAS}{ProblemBody.__name__}"}}


def problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with these problems."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        told = responses.setdefault(code.value.status, {"description": "", "content": {MEDIA_TYPE: _PROBLEM}})
        line = f"`{code.label}`: {code.value.meaning}"
        told["description"] = f"{told['description']}\n\n{line}".strip()
    return responses


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema without references, to stand in a route's own words about its body."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(each) for each in value]
        if not isinstance(value, dict):
            return value
        if reference := value.get("$ref"):
            return whole(parts[reference.rpartition("/")[2]])
        return {name: whole(each) for name, each in value.items()}

    inner: dict[str, Any] = whole(schema)
    return inner


EVENT_STREAM: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
"""Content of a response that is told as it is written."""


class Documented(FastAPI):
    """The application, with an OpenAPI document whose errors are the ones that it answers with."""

    def openapi(self) -> dict[str, Any]:
        """Return the document: problem details in place of the framework's own validation errors."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            problem = ProblemBody.model_json_schema(ref_template=_SCHEMAS + "{model}")
            schemas |= problem.pop("$defs") | {ProblemBody.__name__: problem}
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operations in document["paths"].values():
                for operation in operations.values():
                    if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                        del operation["responses"]["422"]
        return self.openapi_schema or {}


NOT_DONE = (Code.UNSUPPORTED_PARAMETER, Code.UNSUPPORTED_CONTENT)
"""What a route in OpenAI's shape may answer to wishes that nobody here can carry out."""
AUTHENTICATED = (Code.MISSING_KEY, Code.INVALID_KEY, Code.DEPENDENCY_UNAVAILABLE)
"""What every route that needs a key may answer."""
PUBLISHING = (Code.BROKER_UNAVAILABLE, Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT)
"""What every route that takes a body and publishes may answer."""
ACCEPTING = (*PUBLISHING, Code.TOO_MANY_EVENTS)
"""What every route that puts a source's event on the log may answer."""
