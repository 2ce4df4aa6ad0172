"""Brings text from any source into the one form that offsets refer to."""

import re
import unicodedata
from urllib.parse import urlsplit

_NEWLINES = re.compile(r"\r\n?|\x85|\u2028|\u2029")
# C0 and C1 controls but tab and newline, lone surrogates (not encodable), the byte order mark, non-characters.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
# Longer runs say nothing more, and the chunker's time grows with their square.
_BLANK_LINES = re.compile(r"\n{4,}")
_URL = re.compile(r"https?://[^\s<>\[\]{}|\\^`\"']+", re.IGNORECASE)
_MAX_URL = 2_048
"""Longest address that common servers and browsers agree on."""


def clean(text: str) -> str:
    """Return `text` in NFC: newlines are `\\n`, at most two blank lines on end, no controls, no trailing blanks."""
    text = _UNWANTED.sub("", _NEWLINES.sub("\n", text))
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    # By line: a pattern for trailing blanks needs quadratic time on a long run of blanks before a word.
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n\n", text).strip("\n")


def one_line(text: str, limit: int = 500) -> str:
    """Return `text` clean and on one line, at most `limit` code points: for titles and names."""
    return " ".join(clean(text).split())[:limit].rstrip()


def web_address(text: str) -> str:
    """Return `text` if it is an http(s) address with a host, else an empty string."""
    if len(text) > _MAX_URL or " " in text or not text.isprintable():
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme.lower() in {"http", "https"} and parts.hostname else ""


def links_in(text: str, limit: int = 200) -> tuple[str, ...]:
    """Return the http(s) addresses in `text`, each once, in order of appearance, at most `limit`."""
    found: dict[str, None] = {}
    for match in _URL.finditer(text):
        address = web_address(_without_tail(match.group()))
        if address:
            found.setdefault(address)
            if len(found) == limit:
                break
    return tuple(found)


def _without_tail(address: str) -> str:
    address = address.rstrip(".,;:!?*_~")
    # Markdown writes [text](address): a closing bracket belongs to the address only if it was opened in it.
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(".,;:!?*_~")
    return address
