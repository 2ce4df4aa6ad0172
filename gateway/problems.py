"""What goes wrong, in the client's terms: RFC 9457 problem details with a stable code.

A code never changes its meaning; clients switch on it, people read `detail`. `type` is a path that this gateway serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
COMPLETIONS_PATH = "/v1/chat/completions"
MODELS_PATH = "/v1/models"
EMBEDDINGS_PATH = "/v1/embeddings"
RESPONSES_PATH = "/v1/responses"
NOT_OFFERED = (
    *("/v1/completions", "/v1/edits", "/v1/engines", "/v1/moderations", "/v1/images", "/v1/videos", "/v1/audio"),
    *("/v1/files", "/v1/uploads", "/v1/batches", "/v1/fine_tuning", "/v1/vector_stores", "/v1/assistants"),
    *("/v1/threads", "/v1/realtime", "/v1/evals", "/v1/containers", "/v1/organization"),
)
"""What OpenAI's API has besides."""
OPENAI_PATHS = (COMPLETIONS_PATH, MODELS_PATH, EMBEDDINGS_PATH, RESPONSES_PATH, *NOT_OFFERED)
"""Where OpenAI's clients call: errors have their shape."""
UNREADABLE = "unsupported_content"
"""Kind of a validation's fault: content that is no text."""
REQUEST_ID = "request_id"
"""Where the observing middleware leaves the request's id in the ASGI scope's state."""

RETRY_AFTER_S = 5
"""What a 503 asks a client to wait: about what a broker needs to elect a new leader."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Status, title and explanation of a code."""

    status: int
    title: str
    meaning: str


class Code(Enum):
    """Every problem. The member's name in lower case is the code on the wire."""

    INVALID_JSON = Meaning(400, "Invalid JSON", "The body is not JSON.")
    INVALID_HEADER = Meaning(400, "Invalid header", "A header that this request needs is missing or malformed.")
    INVALID_FORM = Meaning(400, "Invalid form", "The multipart body cannot be read.")
    CONTEXT_LENGTH_EXCEEDED = Meaning(400, "Context exceeded", "The model cannot read so much: shorten the request.")
    RESPONSE_FORMAT_NOT_SUPPORTED = Meaning(400, "Format not supported", "Who answers keeps to no `response_format`.")
    TOOLS_NOT_SUPPORTED = Meaning(
        400, "Tools not supported", "Who answers calls no tools: send none, or a model that does."
    )
    REQUEST_REJECTED = Meaning(
        400, "Request rejected", "The model server finds fault with it; `detail` says with what."
    )
    UNSUPPORTED_PARAMETER = Meaning(400, "Not supported", "That field asks for what cannot be done here.")
    UNSUPPORTED_CONTENT = Meaning(400, "Content not supported", "Only text can be read: no images, audio or files.")
    MISSING_KEY = Meaning(401, "API key missing", "Send `Authorization: Bearer mr_…`.")
    INVALID_KEY = Meaning(401, "API key not valid", "The key is malformed, unknown or revoked.")
    MISSING_SIGNATURE = Meaning(401, "Signature missing", "The webhook carries no signature, id or timestamp header.")
    INVALID_SIGNATURE = Meaning(401, "Signature not valid", "No secret of the source gives this signature.")
    STALE_TIMESTAMP = Meaning(401, "Timestamp too far off", "The signed time is more than five minutes off.")
    SOURCE_DISABLED = Meaning(403, "Source disabled", "The source takes no documents until it is enabled again.")
    NOT_FOUND = Meaning(404, "Not found", "There is nothing at this path.")
    SOURCE_NOT_FOUND = Meaning(404, "Source not found", "No such source here, or not of this connector, or disabled.")
    DOCUMENT_NOT_FOUND = Meaning(404, "Document not found", "The workspace has no such document, or it was deleted.")
    EVENT_NOT_FOUND = Meaning(404, "Event not found", "The workspace has no such event.")
    ENTITY_NOT_FOUND = Meaning(404, "Entity not found", "The workspace's graph has no such entity.")
    LETTER_NOT_FOUND = Meaning(404, "Dead letter not found", "The workspace has no such dead letter.")
    CONVERSATION_NOT_FOUND = Meaning(404, "Conversation not found", "The workspace has no such conversation.")
    REQUEST_NOT_FOUND = Meaning(404, "Chat request not found", "The workspace has no such request, or no longer.")
    MODEL_NOT_FOUND = Meaning(404, "Model not found", "No backend of this installation serves that model.")
    METHOD_NOT_ALLOWED = Meaning(405, "Method not allowed", "See the `Allow` header.")
    REQUEST_TIMEOUT = Meaning(408, "Request timeout", "The body did not arrive in time.")
    SOURCE_CONFLICT = Meaning(409, "Source name taken", "The workspace has a source of that name, other connector.")
    LETTER_NOT_REDRIVABLE = Meaning(409, "Not redrivable", "The record's own headers are broken.")
    CANCELLED = Meaning(410, "Cancelled", "The request was cancelled: no answer will come.")
    LETTER_GONE = Meaning(410, "Dead letter gone", "The log no longer holds the letter's record.")
    PAYLOAD_TOO_LARGE = Meaning(413, "Payload too large", "The body is over the limit, which `limit_bytes` states.")
    UNSUPPORTED_MEDIA_TYPE = Meaning(415, "Unsupported media type", "Send one of the content types in `detail`.")
    INVALID_REQUEST = Meaning(422, "Invalid request", "Fields are missing or wrong; `errors` points at each.")
    KEY_REUSED = Meaning(422, "Idempotency key reused", "The key stands for another request, made earlier.")
    REFUSED = Meaning(422, "Refused", "The request is well-formed and can never be carried out.")
    TOO_MANY_EVENTS = Meaning(429, "Too many events", "The workspace sends too fast; wait as `Retry-After` says.")
    OVERLOADED = Meaning(429, "Too busy", "The answer would begin after the deadline; wait as `Retry-After` says.")
    INTERNAL_ERROR = Meaning(500, "Internal error", "A fault of ours; quote the `instance` to your operator.")
    ANSWER_FAILED = Meaning(502, "Answer failed", "A worker could not answer; `reply_code` says why.")
    BROKER_UNAVAILABLE = Meaning(503, "Log unavailable", "Kafka does not answer; nothing was accepted. Try again.")
    DEPENDENCY_UNAVAILABLE = Meaning(503, "Dependency unavailable", "A store does not answer. Try again.")
    DEADLINE_PASSED = Meaning(504, "Deadline passed", "No answer came in time.")

    @property
    def label(self) -> str:
        """The code on the wire."""
        return self.name.lower()

    @property
    def type(self) -> str:
        """Path that explains the code."""
        return f"/v1/problems/{self.label}"

    @classmethod
    def labelled(cls, label: str) -> "Code | None":
        """Return the code called `label`, None if there is none."""
        return next((code for code in cls if code.label == label), None)


class FieldFault(BaseModel):
    """A field that is wrong."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or `query/NAME`, `path/NAME`.")
    detail: str


class ProblemBody(BaseModel):
    """Body of every error (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": Code.PAYLOAD_TOO_LARGE.type,
                    "title": Code.PAYLOAD_TOO_LARGE.value.title,
                    "status": 413,
                    "code": Code.PAYLOAD_TOO_LARGE.label,
                    "detail": "the body is over the limit of 33554432 bytes",
                    "instance": "urn:uuid:0c0e2f64-7b5c-4d5e-9a35-1f5a3d6b8c11",
                    "limit_bytes": 33554432,
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    code: str = Field(json_schema_extra={"enum": [code.label for code in Code]})
    detail: str
    instance: str = Field(description="`urn:uuid:` and the request id, which the `x-request-id` header repeats.")
    errors: list[FieldFault] | None = None
    limit_bytes: int | None = None
    reply_code: str | None = None
    dependency: str | None = None


class Problem(HTTPException):
    """Ends a request with a problem. `detail` is shown to the client: no secrets, nothing of another workspace."""

    def __init__(self, code: Code, detail: str = "", headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(code.value.status, detail or code.value.meaning, dict(headers or {}))
        self.code = code
        self.more = more
        """Extension members of the body."""


def invalid_field(pointer: str, detail: str) -> Problem:
    """Return the problem of one field that is wrong. `pointer`: JSON pointer into the body."""
    return Problem(Code.INVALID_REQUEST, errors=[{"pointer": pointer, "detail": detail}])


def not_offered(path: str) -> str:
    """Return what to say of a path of OpenAI's API that is not served here; empty for any other."""
    if path.startswith(NOT_OFFERED):
        return f"{path[:80]} is not offered here: ask at {COMPLETIONS_PATH}, {RESPONSES_PATH} or {EMBEDDINGS_PATH}"
    return ""


def respond(problem: Problem, scope: Scope) -> Response:
    """Return the response of `problem`: problem+json, or OpenAI's error body where OpenAI's clients call."""
    headers = dict(problem.headers or {})
    if problem.status_code == 401:  # noqa: PLR2004
        headers.setdefault("WWW-Authenticate", 'Bearer realm="millrace"')
    if problem.status_code == 503:  # noqa: PLR2004
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if scope.get("path", "").startswith(OPENAI_PATHS):
        # OpenAI's clients make a BadRequestError of 400, which is what their users catch.
        status = 400 if problem.code is Code.INVALID_REQUEST else problem.status_code
        return Response(orjson.dumps(openai_error(problem)), status, headers, "application/json")
    return Response(orjson.dumps(problem_body(problem, scope)), problem.status_code, headers, MEDIA_TYPE)


def problem_body(problem: Problem, scope: Scope) -> dict[str, Any]:
    """Return the problem details of a request's `problem`."""
    return {
        "type": problem.code.type,
        "title": problem.code.value.title,
        "status": problem.status_code,
        "code": problem.code.label,
        "detail": problem.detail,
        "instance": f"urn:uuid:{scope.get('state', {}).get(REQUEST_ID, '')}",
        **problem.more,
    }


def openai_error(problem: Problem) -> dict[str, Any]:
    """Return OpenAI's error body. https://platform.openai.com/docs/guides/error-codes"""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    status = problem.status_code
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")  # noqa: PLR2004
    faults = problem.more.get("errors") or []
    detail = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults) or problem.detail
    parameter = faults[0]["pointer"].lstrip("/").replace("/", ".") if faults else None
    return {"error": {"message": detail, "type": kind, "param": parameter, "code": problem.code.label}}
