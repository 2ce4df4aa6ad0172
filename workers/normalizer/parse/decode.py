"""From bytes to text: byte order mark, then UTF-8, then a guess."""

import codecs

from charset_normalizer import from_bytes

from workers.normalizer.parse.parsed import ParseError, oversize

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMONEST = "cp1252"
"""Default of https://encoding.spec.whatwg.org/ for western locales."""
_SAMPLE = 64 * 1024
_WIDEST = 4
"""Bytes of one character in UTF-8 at most, and in UTF-32 always."""


def decode(body: bytes, chars: int) -> str:
    """Return the text in `body`, at most `chars` code points.

    Raises ParseError `oversize`, or `unsupported_media_type` where no encoding makes text of it.
    """
    if len(body) > _WIDEST * chars + _WIDEST:
        raise oversize(chars)
    text = _decoded(body)
    if len(text) > chars:
        raise oversize(chars)
    return text


def _decoded(body: bytes) -> str:
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body.decode(encoding, errors="replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    return body.decode(_guess(body[:_SAMPLE]), errors="replace")


def _guess(sample: bytes) -> str:
    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        raise ParseError("unsupported_media_type", "no text in any known encoding")
    for match in matches:
        # Tables of neighbouring languages often fit equally well; then the commonest is meant, as browsers assume.
        if match.encoding == _COMMONEST and (match.chaos, match.coherence) == (best.chaos, best.coherence):
            return _COMMONEST
    return best.encoding
