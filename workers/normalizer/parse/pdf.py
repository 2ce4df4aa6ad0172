"""PDF to text, by PDFium: reading order of the text layer, page by page."""

import re
from datetime import datetime, timedelta, timezone

import pypdfium2

from workers.normalizer.parse.parsed import Parsed, ParseError, oversize

_BROKEN_WORD = re.compile("[\x02\ufffe\u00ad]\r?\n?")
"""PDFium marks the hyphen of a word broken over lines with one of these."""
_DATE = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:Z|([+-])(\d{2})'?(\d{2})?)?")


def parse_pdf(body: bytes, chars: int) -> Parsed:
    """Return the text of a PDF.

    Raises ParseError: `encrypted_document` where a password is needed, `unreadable_document`, `oversize`.
    """
    try:
        document = pypdfium2.PdfDocument(body)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error) or "ecurity" in str(error):
            raise ParseError("encrypted_document", "a PDF under a password") from error
        raise ParseError("unreadable_document", f"PDFium: {error}"[:200]) from error
    with document:
        pages = _pages(document, chars)
        facts = document.get_metadata_dict()
        text = "\n\n".join(filter(str.strip, pages))
        return Parsed(
            text=text,
            format="text",
            media_type="application/pdf",
            title=facts.get("Title", ""),
            authors=tuple(filter(None, (facts.get("Author", "").strip(),))),
            created_at=pdf_date(facts.get("CreationDate", "")),
            updated_at=pdf_date(facts.get("ModDate", "")),
            metadata={"pages": len(pages)},
            empty="" if text.strip() else "the PDF has no text layer: scanned pages or drawings only",
        )


def _pages(document: pypdfium2.PdfDocument, chars: int) -> list[str]:
    texts: list[str] = []
    length = 0
    for number in range(len(document)):
        try:
            page = document[number]
            text = page.get_textpage().get_text_bounded()
        except pypdfium2.PdfiumError as error:
            raise ParseError("unreadable_document", f"page {number + 1}: {error}"[:200]) from error
        texts.append(_BROKEN_WORD.sub("", text))
        # A page keeps its parsed objects until it is closed: hundreds of megabytes over a long book.
        page.close()
        length += len(text)
        if length > chars:
            raise oversize(chars)
    return texts


def pdf_date(text: str) -> datetime | None:
    """Return the moment of a PDF date string (ISO 32000-1, 7.9.4), None if it is none; UTC where no zone is given."""
    match = _DATE.match(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
    offset = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0)) * (-1 if match[7] == "-" else 1)
    try:
        zone = timezone(offset)
        return datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=zone)
    except ValueError:
        return None
