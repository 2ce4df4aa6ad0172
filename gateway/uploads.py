"""Reads an uploaded document from a JSON or multipart body."""

import asyncio
import hashlib
import mimetypes
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

import orjson
from fastapi import Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from gateway.failures import invalid
from gateway.problems import Code, Problem, invalid_field
from schemas.filters import moment
from schemas.ids import name_of

JSON = "application/json"
FORM = "multipart/form-data"
MARKDOWN = "text/markdown; charset=utf-8"
BINARY = "application/octet-stream"

LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines", "application/x-jsonlines")

MAX_BATCH = 500
"""Documents of one batch; its bytes are bounded as those of an upload are."""
MAX_AUTHORS = 100
MAX_FIELD_BYTES = 256 * 1024
MAX_METADATA_BYTES = 64 * 1024
THREADED_BYTES = 512 * 1024
"""Bodies from this size on are hashed in a thread, where hashlib lets the event loop run."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _moment(value: object) -> object:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError("a day or a time is wanted as text, as 2031-01-05T10:00:00Z")  # noqa: TRY004 - as pydantic has it
    try:
        return moment(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("not a day or a time of ISO 8601, as 2031-01-05T10:00:00Z") from error


Moment = Annotated[datetime | None, BeforeValidator(_moment)]
"""ISO 8601. Without a zone it is one of UTC; a day is its first moment."""
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Person(BaseModel):
    """An author: a name, a handle (login or address), or both."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    handle: Name = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.name or self.handle):
            raise ValueError("an author has a name or a handle")
        return self


class Description(BaseModel):
    """What is said about a document. `external_id` is the sender's own stable name for it: the same name again is a
    new version of the same document.
    """

    model_config = ConfigDict(extra="forbid")

    external_id: Line = ""
    filename: Line = ""
    title: Line = ""
    url: Line = ""
    source: Line = ""
    """Id of a source of connector `files`; by default the workspace's source `uploads`."""
    author: Person | None = None
    authors: list[Person] = Field(default_factory=list, max_length=MAX_AUTHORS)
    """Names, or objects of `name` and `handle`; `author` is one more, before them. They win over what a file says."""
    created_at: Moment = None
    updated_at: Moment = None
    """When the document was made and last changed, for filters. Which version is newer is decided by arrival."""
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def people(self) -> list[dict[str, str]]:
        """All authors, each once."""
        given = [*([self.author] if self.author else []), *self.authors]
        named: dict[str, Person] = {}
        for each in given:
            named.setdefault(each.name or each.handle, each)
        return [each.model_dump(exclude_defaults=True) for each in named.values()]


class NewDocument(Description):
    """A text to ingest; Markdown is understood."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "# Runbook\n\nRestart the login service when the queue is stuck.",
                    "title": "Login runbook",
                    "external_id": "runbooks/login",
                    "metadata": {"team": "platform"},
                }
            ]
        }
    )

    text: str = Field(min_length=1)


class BatchDocument(NewDocument):
    """A text of a batch; the same `idempotency_key` again is the same event."""

    idempotency_key: str = Field(default="", max_length=200, pattern=r"^[\x21-\x7e]*$")


class Upload(BaseModel):
    """A document as it came: what is said about it, and its bytes."""

    model_config = ConfigDict(frozen=True)

    description: Description
    content: bytes
    content_type: str

    async def external_id(self) -> str:
        """Return the sender's name of the document: the stated one, else the file's path, else its content's hash."""
        named = name_of(self.description.external_id or _path(self.description.filename))
        if named:
            return named
        if len(self.content) < THREADED_BYTES:
            return hashlib.sha256(self.content).hexdigest()
        return (await asyncio.to_thread(hashlib.sha256, self.content)).hexdigest()

    def attributes(self) -> dict[str, str]:
        """Return what the normalizer is told beside the bytes."""
        said = self.description
        texts = {
            "filename": said.filename,
            "title": said.title,
            "url": said.url,
            "authors": orjson.dumps(people).decode() if (people := said.people) else "",
            "created_at": said.created_at.isoformat() if said.created_at else "",
            "updated_at": said.updated_at.isoformat() if said.updated_at else "",
            "metadata": orjson.dumps(said.metadata).decode() if said.metadata else "",
        }
        return {name: text for name, text in texts.items() if text}


def _path(filename: str) -> str:
    """Return a file's name with the folders that are sent with it, written with `/` on whatever system it lies."""
    return filename.replace("\\", "/").removeprefix("./")


async def read_upload(request: Request) -> Upload:
    """Return the uploaded document. Raises Problem: unsupported media type, invalid JSON, form or fields."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == JSON:
        return _from_json(await request.body())
    if media_type == FORM:
        return await _from_form(request)
    raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send {JSON} or {FORM}")


def _from_json(body: bytes) -> Upload:
    try:
        document = NewDocument.model_validate_json(body)
    except ValidationError as error:
        raise _faulty(error) from error
    _bounded(document)
    return Upload(description=document, content=document.text.encode(), content_type=MARKDOWN)


async def _from_form(request: Request) -> Upload:
    try:
        # A file over 1 MB goes to a temporary file while it arrives, so that memory holds it once it is whole.
        async with request.form(max_files=1, max_fields=20 + MAX_AUTHORS, max_part_size=MAX_FIELD_BYTES) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                fault = {"pointer": "/file", "detail": "a multipart body needs a part `file` with a filename"}
                raise Problem(Code.INVALID_REQUEST, errors=[fault])
            content = await file.read()
            filename, stated = file.filename or "", file.content_type or ""
            fields = _fields(form)
    except MultiPartException as error:
        raise Problem(Code.INVALID_FORM, error.message) from error
    try:
        description = Description.model_validate({"filename": filename, **fields})
    except ValidationError as error:
        raise _faulty(error) from error
    _bounded(description)
    guessed = mimetypes.guess_type(description.filename)[0]
    content_type = stated if stated and stated != BINARY else guessed or BINARY
    return Upload(description=description, content=content, content_type=content_type[:200])


def _fields(form: FormData) -> Mapping[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
    people = [each for each in form.getlist("authors") if isinstance(each, str) and each]
    if people:
        # A list in JSON, or the field again for each.
        fields["authors"] = _list(people[0]) if len(people) == 1 else people
    if fields.get("metadata"):
        try:
            fields["metadata"] = orjson.loads(fields["metadata"])
        except orjson.JSONDecodeError as error:
            fault = {"pointer": "/metadata", "detail": "metadata is a JSON object"}
            raise Problem(Code.INVALID_REQUEST, errors=[fault]) from error
    return {name: value for name, value in fields.items() if value != ""}


def _list(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return [text]
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        fault = {"pointer": "/authors", "detail": "authors is a JSON list, or one name"}
        raise Problem(Code.INVALID_REQUEST, errors=[fault]) from error


async def read_batch(request: Request) -> list[Any]:
    """Return the documents of a batch as they came: JSON (a list, or an object with `documents`) or JSON lines.

    A line that is no JSON is a Problem in its place. Raises Problem: unsupported media type, invalid JSON or request.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if media_type in LINES:
        items = [_line(line) for line in body.splitlines() if line.strip()]
    elif media_type == JSON:
        items = _documents(body)
    else:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"send {JSON} or {LINES[0]}")
    if not 0 < len(items) <= MAX_BATCH:
        raise invalid_field("/documents", f"a batch holds 1 to {MAX_BATCH} documents, not {len(items)}")
    return items


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return Problem(Code.INVALID_JSON)


def _documents(body: bytes) -> list[Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(Code.INVALID_JSON) from error
    if isinstance(value, dict) and set(value) == {"documents"}:
        value = value["documents"]
    if not isinstance(value, list):
        raise invalid_field("", "a list of documents is wanted, or an object with `documents` alone")
    return value


def batched(item: Any, index: int) -> tuple[Upload, str]:
    """Return a batch's document and the key that stands for it, empty where it has none. Raises Problem."""
    if isinstance(item, Problem):
        raise item
    try:
        document = BatchDocument.model_validate(item)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise invalid([{**fault, "loc": ("body", "documents", index, *fault["loc"])} for fault in faults]) from error
    _bounded(document)
    upload = Upload(description=document, content=document.text.encode(), content_type=MARKDOWN)
    return upload, document.idempotency_key


def _bounded(description: Description) -> None:
    if len(orjson.dumps(description.metadata)) > MAX_METADATA_BYTES:
        fault = {"pointer": "/metadata", "detail": f"metadata is over {MAX_METADATA_BYTES} bytes"}
        raise Problem(Code.INVALID_REQUEST, errors=[fault])


def _faulty(error: ValidationError) -> Problem:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return invalid([{**fault, "loc": ("body", *fault["loc"])} for fault in faults])
