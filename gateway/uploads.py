"""Reads an uploaded document from a JSON or multipart body."""

import asyncio
import hashlib
import mimetypes
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from gateway.failures import invalid
from gateway.problems import Code, Problem
from schemas.ids import name_of

JSON = "application/json"
FORM = "multipart/form-data"
MARKDOWN = "text/markdown; charset=utf-8"
BINARY = "application/octet-stream"

MAX_FIELD_BYTES = 256 * 1024
MAX_METADATA_BYTES = 64 * 1024
THREADED_BYTES = 512 * 1024
"""Bodies from this size on are hashed in a thread, where hashlib lets the event loop run."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]*$")]


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
    metadata: dict[str, Any] = Field(default_factory=dict)


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
        texts = {"filename": said.filename, "title": said.title, "url": said.url}
        metadata = {"metadata": orjson.dumps(said.metadata).decode()} if said.metadata else {}
        return {name: text for name, text in texts.items() if text} | metadata


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
        async with request.form(max_files=1, max_fields=10, max_part_size=MAX_FIELD_BYTES) as form:
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
    if fields.get("metadata"):
        try:
            fields["metadata"] = orjson.loads(fields["metadata"])
        except orjson.JSONDecodeError as error:
            fault = {"pointer": "/metadata", "detail": "metadata is a JSON object"}
            raise Problem(Code.INVALID_REQUEST, errors=[fault]) from error
    return {name: value for name, value in fields.items() if value != ""}


def _bounded(description: Description) -> None:
    if len(orjson.dumps(description.metadata)) > MAX_METADATA_BYTES:
        fault = {"pointer": "/metadata", "detail": f"metadata is over {MAX_METADATA_BYTES} bytes"}
        raise Problem(Code.INVALID_REQUEST, errors=[fault])


def _faulty(error: ValidationError) -> Problem:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return invalid([{**fault, "loc": ("body", *fault["loc"])} for fault in faults])
