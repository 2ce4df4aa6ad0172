"""Identifiers in a text: what names one thing and has to be found as it is written, letter by letter.

Issue keys, versions, file and module names, paths, addresses, part numbers, hexadecimal ids, snake_case and CamelCase.
They are recognised by their build, in any script, and not by a list of formats: a run of letters and digits, with
joints inside, that prose does not write.
"""

import re
import unicodedata
from collections.abc import Iterator

MARK = "="
"""Stands before an identifier among a text's terms, so that no stem equals one."""
LONGEST = 100
"""Characters of an identifier; what is longer (a data URI, a minified line) is nobody's name for anything."""

MARKS = "".join(chr(point) for point in range(0x300, 0x20D1) if unicodedata.category(chr(point)) in ("Mn", "Mc", "Me"))
"""Combining signs: vowels of Thai, Hindi and others, which Python's `\\w` does not hold and words do."""
_PIECE = rf"(?:[^\W_][{MARKS}]*)+"
_JOINTS = r"[-_./:@#+\\~&>]{1,3}"
"""At most three at once: `::`, `->`, `__`; a longer row of them is a line that was drawn."""
_COMPOUND = re.compile(rf"(?<!\w)[#.]?{_PIECE}(?:{_JOINTS}{_PIECE})*(?:\+\+|\#(?!\w))?")
_STEPS = re.compile(r"[/\\:@#&~]+")
_MEMBERS = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_])")
"""Where an identifier's parts may be identifiers of their own: the file of a path, the key at the end of an address;
the name behind a module's."""
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58]")
_INVISIBLE = re.compile("[\u00ad\u2060\ufeff\u200c\u200d]")

_FILE = re.compile(r"\w[\w-]+(?:\.[\w-]+)*\.[^\W\d_]\w{0,9}")
_SYMBOL = re.compile(r"\w+(?:\+\+|#)")
_TAGGED = re.compile(r"[#]\d+|\.[^\W\d_]{2,}")
_JOINED_CAPITALS = re.compile(r"[A-Z]{2,}(?:[-/.:][A-Z]+)+")
_HUMPED = re.compile(r"[^\W_]*(?:[a-z0-9][A-Z]|[A-Z]{2}[a-z])[^\W_]*")

_PLAIN_NUMBER = re.compile(r"[\d.,:/+-]*\d")
_MEASURE = re.compile(r"\d+(?:[.,]\d+)?[^\W\d_]{1,3}")
"""19th, 5km, 1980s, 3D: a number with its unit or ending."""
_PATH_STEPS = 3
_SHORTEST_CODE = 4
_NUMBER_PARTS = 3
_LONG_NUMBER = 7
_DATE = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/])\d{1,2}\2(?:\d{4}|\d{2})|\d{1,2}\.\d{1,2}\.\d{4}"
    r"|\d{1,2}:\d{2}(?::\d{2})?|(?:1\d{3}|20\d{2})[-/](?:\d{2}|1\d{3}|20\d{2})"
)
"""A day, a time of day, a span of years."""
_PROSE = re.compile(r"\d+(?:st|nd|rd|th)?(?:-[^\W\d_]{2,})+(?:-\d+)?|(?:[^\W_]+-)*[^\W\d_]{6,}(?:-[^\W_]+)*")
"""2-point, 3rd-and-9, rad53-dependent: words joined with a hyphen, a long one among them or after a number."""


def normalised(text: str) -> str:
    """Return `text` with one spelling of what looks alike: composed letters, plain dashes, no invisible signs."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return _INVISIBLE.sub("", _DASHES.sub("-", text))


def identifiers(text: str) -> list[str]:
    """Return the identifiers in a `normalised` text, case folded and marked, in order, with those inside of others."""
    return [f"{MARK}{found.casefold()}" for match in _COMPOUND.finditer(text) for found in _kept(match.group())]


def _kept(written: str) -> Iterator[str]:
    if len(written) > LONGEST:
        return
    steps = [step for step in _STEPS.split(written) if step]
    parts = [*steps, *(member for step in steps for member in _MEMBERS.split(step))]
    inner = [part for part in dict.fromkeys(parts) if part != written and _is_identifier(part)]
    if inner or _is_identifier(written) or len(steps) >= _PATH_STEPS:
        yield written
    yield from inner


def _is_identifier(written: str) -> bool:
    """Say whether prose would not write this: digits joined to letters or to digits, `_`, humps, a file's ending."""
    digits = any(letter.isdigit() for letter in written)
    if digits and (any(letter.isalpha() for letter in written) or not written.isdigit()):
        return True
    shapes = (_FILE, _SYMBOL, _TAGGED, _JOINED_CAPITALS, _HUMPED)
    return "_" in written or any(shape.fullmatch(written) for shape in shapes)


def is_code(term: str) -> bool:
    """Say whether a term is an identifier that hardly names more than one thing: ERR-52445 is, 19th and 2031-01-05 are
    not, nor is a camel-cased name, which may be what the whole corpus is about.

    Whoever asks with one and finds it in a passage has been understood; whoever asks for one that the passage does
    not hold asks about something else, however alike the rest is.
    """
    written = term.removeprefix(MARK)
    if written == term or len(written) < _SHORTEST_CODE or not any(letter.isdigit() for letter in written):
        return "_" in written and written != term
    if any(shape.fullmatch(written) for shape in (_DATE, _MEASURE, _PROSE)):
        return False
    if _PLAIN_NUMBER.fullmatch(written):
        parts = re.findall(r"\d+", written)
        return "," not in written and (len(parts) >= _NUMBER_PARTS or sum(map(len, parts)) >= _LONG_NUMBER)
    return True
