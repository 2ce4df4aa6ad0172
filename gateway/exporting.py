"""Conversations as files: written page by page while they are sent, whatever their length."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import orjson

from infra.postgres.conversations import Conversation
from infra.postgres.messages import Message

Format = Literal["json", "csv", "markdown"]
Pages = AsyncIterator[list[Message]]

_COLUMNS = (
    *("created_at", "role", "content", "model", "served_by", "sources", "error", "rating"),
    *("message_id", "request_id"),
)
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A spreadsheet takes a cell that begins so for a formula.

https://owasp.org/www-community/attacks/CSV_Injection
"""
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069/\\:*?\"<>|]+")
"""Not in a file's name: control characters, those that turn the direction of writing, what paths are made of."""
_NAME_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Kind:
    """One format of files."""

    media_type: str
    extension: str
    write: Callable[[Conversation, Pages], AsyncIterator[bytes]]


def disposition(conversation: Conversation, kind: Kind) -> str:
    """Return a Content-Disposition header (RFC 6266): an ASCII name, and the title as it is in UTF-8."""
    plain = _UNSAFE.sub("-", conversation.title).strip("-").lower()[:_NAME_LENGTH].strip("-")
    own = f"conversation-{conversation.conversation_id}"
    # No dots at its ends either: they hide a file, or change what it is taken for.
    title = _CONTROL.sub(" ", conversation.title)[:_NAME_LENGTH].strip(" .") or own
    encoded = quote(f"{title}.{kind.extension}".encode(errors="replace"), safe="")
    return f"attachment; filename=\"{plain or own}.{kind.extension}\"; filename*=UTF-8''{encoded}"


async def _json(conversation: Conversation, pages: Pages) -> AsyncIterator[bytes]:
    known = {
        "conversation_id": conversation.conversation_id,
        "title": conversation.title,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "archived": conversation.archived,
    }
    yield _dumped(known)[:-1] + b',"messages":['
    separator = b"\n"
    async for page in pages:
        for message in page:
            yield separator + _dumped(shown(message))
            separator = b",\n"
    yield b"\n]}\n"


async def _csv(_: Conversation, pages: Pages) -> AsyncIterator[bytes]:
    # With a byte order mark: without one, spreadsheets take UTF-8 for the machine's own encoding.
    yield b"\xef\xbb\xbf" + _row(_COLUMNS)
    async for page in pages:
        yield b"".join(_row(_cells(message)) for message in page)


async def _markdown(conversation: Conversation, pages: Pages) -> AsyncIterator[bytes]:
    yield f"# {_line(conversation.title)}\n".encode(errors="replace")
    async for page in pages:
        for message in page:
            who = "Question" if message.role == "user" else "Answer"
            lines = ["", f"## {who}, {message.created_at:%Y-%m-%d %H:%M:%S} UTC", ""]
            lines.append(f"*No answer: {_line(message.error['detail'])}*" if message.error else message.content)
            if message.citations:
                lines += ["", *map(_source, message.citations)]
            yield ("\n".join(lines) + "\n").encode(errors="replace")


FORMATS: dict[Format, Kind] = {
    "json": Kind("application/json", "json", _json),
    "csv": Kind("text/csv; charset=utf-8; header=present", "csv", _csv),
    "markdown": Kind("text/markdown; charset=utf-8", "md", _markdown),
}


def shown(message: Message) -> dict[str, Any]:
    """Return a message as clients see it."""
    return {
        "message_id": message.message_id,
        "request_id": message.request_id,
        "role": message.role,
        "content": message.content,
        "citations": message.citations,
        "model": message.model,
        "served_by": message.served_by,
        "created_at": message.created_at,
        "error": message.error,
        "rating": message.rating,
    }


def _dumped(value: dict[str, Any]) -> bytes:
    # The database's UUIDs are of a class of their own, which orjson leaves to us.
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z)


def safe_cell(text: str) -> str:
    """Return `text` so that no spreadsheet runs it: behind an apostrophe where it begins like a formula.

    White space before the sign counts too: some programs strip it.
    """
    return f"'{text}" if text.startswith(_ACTIVE) or text.lstrip().startswith(_ACTIVE) else text


def _cells(message: Message) -> list[str]:
    sources = "; ".join(f"[{each['number']}] {each.get('url') or each['document_id']}" for each in message.citations)
    error = message.error["code"] if message.error else ""
    identity = (str(message.message_id), str(message.request_id))
    told = (message.content, message.model, message.served_by, sources, error, message.rating or "")
    return [message.created_at.isoformat(), message.role, *map(safe_cell, told), *identity]


def _row(cells: "list[str] | tuple[str, ...]") -> bytes:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue().encode(errors="replace")


def _source(citation: dict[str, Any]) -> str:
    title = _line(citation.get("title") or str(citation["document_id"]))
    address = citation.get("url") or f"/v1/documents/{citation['document_id']}"
    # In angle brackets an address may hold parentheses; what would end it is encoded.
    link = quote(address, safe=":/?#[]@!$&'()*+,;=%~-._")
    return f"{citation['number']}. [{title}](<{link}>): “{_line(citation['quote'])}”"


def _line(text: str) -> str:
    """Return `text` on one line, with what Markdown would read as a link, an image or HTML escaped."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))
