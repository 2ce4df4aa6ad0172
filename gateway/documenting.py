"""What the OpenAPI document says about errors."""

from typing import Any

from gateway.problems import MEDIA_TYPE, Code, ProblemBody


def problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers with these problems."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        told = responses.setdefault(code.value.status, {"description": "", "model": ProblemBody, "content": {}})
        line = f"`{code.label}`: {code.value.meaning}"
        told["description"] = f"{told['description']}\n{line}".strip()
        told["content"] = {MEDIA_TYPE: {}}
    return responses


AUTHENTICATED = (Code.MISSING_KEY, Code.INVALID_KEY, Code.DEPENDENCY_UNAVAILABLE)
"""What every route that needs a key may answer."""
PUBLISHING = (Code.BROKER_UNAVAILABLE, Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT)
"""What every route that takes a body and publishes may answer."""
