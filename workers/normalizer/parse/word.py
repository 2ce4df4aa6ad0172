"""DOCX to Markdown: headings, lists and tables in their order."""

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

from docx import Document
from docx.document import Document as WordDocument
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import ErrorTypes, XMLSyntaxError

from workers.normalizer.parse.parsed import Parsed, ParseError, oversize

_MAX_MEMBERS = 10_000
_READ = 64 * 1024


def parse_docx(body: bytes, chars: int, expansion: int) -> Parsed:
    """Return the text of a DOCX file.

    Raises ParseError: `expansion_limit` where it unpacks to more than `expansion` bytes, `unreadable_document`,
    `oversize`.
    """
    check_expansion(body, expansion)
    try:
        document = Document(BytesIO(body))
        text = "\n\n".join(_blocks(document, chars))
        facts = document.core_properties
        return Parsed(
            text=text,
            format="markdown",
            media_type="application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            title=facts.title or "",
            authors=tuple(filter(None, (facts.author.strip(),))),
            created_at=_utc(facts.created),
            updated_at=_utc(facts.modified),
        )
    except XMLSyntaxError as error:
        if error.code == ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        raise ParseError("unreadable_document", "a part of the DOCX is no XML") from error
    except (PackageNotFoundError, KeyError, ValueError, AttributeError) as error:
        # python-docx has no error of its own for a broken part: it fails where it first misses something.
        raise ParseError("unreadable_document", f"not a DOCX document: {type(error).__name__}") from error


def check_expansion(body: bytes, limit: int) -> None:
    """Unpack `body` into nothing, counting. Raises ParseError `expansion_limit` or `unreadable_document`.

    The declared sizes are checked first, then the real ones: a bomb may declare what it likes.
    """
    try:
        with zipfile.ZipFile(BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > limit:
                raise ParseError("expansion_limit", f"unpacks to more than {limit} bytes or {_MAX_MEMBERS} parts")
            left = limit
            for member in members:
                if member.flag_bits & 1:
                    raise ParseError("encrypted_document", "a zip under a password")
                with archive.open(member) as stream:
                    while piece := stream.read(_READ):
                        left -= len(piece)
                        if left < 0:
                            raise ParseError("expansion_limit", f"unpacks to more than {limit} bytes")
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zipfile.zlib.error, ValueError) as error:  # type: ignore[attr-defined]
        raise ParseError("unreadable_document", f"not a zip container: {type(error).__name__}") from error


def _blocks(document: WordDocument, chars: int) -> Iterator[str]:
    length = 0
    for block in document.iter_inner_content():
        text = _paragraph(block) if isinstance(block, Paragraph) else _table(block)
        length += len(text)
        if length > chars:
            raise oversize(chars)
        if text.strip():
            yield text


def _paragraph(paragraph: Paragraph) -> str:
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    text = paragraph.text.strip()
    if not text:
        return ""
    if style == "Title":
        return f"# {text}"
    if style.startswith("Heading"):
        level = style.rpartition(" ")[2]
        return f"{'#' * min(int(level), 6) if level.isdigit() else '#'} {text}"
    return f"- {text}" if style.startswith("List") else text


def _table(table: Table) -> str:
    lines: list[str] = []
    for row in table.rows:
        cells = [" ".join(cell.text.split()).replace("|", "\\|") for cell in row.cells]
        lines.append(f"| {' | '.join(cells)} |")
        if len(lines) == 1:
            lines.append(f"|{' --- |' * len(cells)}")
    return "\n".join(lines)


def _utc(at: datetime | None) -> datetime | None:
    # Office writes W3CDTF in UTC; python-docx gives it without a zone in some releases.
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
