"""Sparse (lexical) vectors: BM25F on the document side, term frequency on the query side, IDF in the vector store.

Term ids are the first 32 bits of BLAKE2b of the term. With a vocabulary of V terms a given term shares its id with
another one with probability V / 2**32: 0.02 % at a million terms, and a collision only adds a weak false match, since
its partner's other words do not match.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import Stemmer  # type: ignore[import-not-found]  # an extension module without stubs

from infra.models.identifiers import MARKS, identifiers, normalised
from infra.models.stopwords import ENGLISH

K1 = 1.2
B = 0.4
"""Saturation and length normalisation; b = .4 to .75 is flat on SciFact and LoCoMo (Robertson and Zaragoza 2009,
"The Probabilistic Relevance Framework: BM25 and Beyond", section 3.5, for the formula)."""

BODY_LENGTH = 100.0
TITLE_LENGTH = 8.0
HEADING_LENGTH = 8.0
"""Average field lengths in terms, fixed: a chunk of 1,000 characters holds about 165 English words, 100 without stop
words. A true average moves with every document and would re-weight points already written; with b = .4 an average that
is wrong by half changes a weight by under 20 %, and all points alike."""

BODY_WEIGHT = 1.0
TITLE_WEIGHT = 2.0
HEADING_WEIGHT = 1.0
AUTHOR_WEIGHT = 1.0

WRITTEN = "'"
"""Stands before a word as it is written among the terms of a vector."""

_LANGUAGES = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""ISO 639-1 code to Snowball stemmer."""

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Kana, Han
    "\u1100-\u11ff\uac00-\ud7a3"  # Hangul: with spaces, but particles stand at its words
)
"""Scripts that are cut into pairs of letters."""
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{MARKS}])*(?:['\u2019](?:[^\W_]|[{MARKS}])+)*")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]")
_RUN = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_ALPHABETIC = re.compile("[\u00c0-\u06ff\u1e00-\u1fff]")
_STROKES = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ß": "ss"}
)
"""Letters whose stroke is no combining sign."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class SparseTerms:
    """A sparse vector: term ids, ascending and unique, and their weights."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


def term_id(term: str) -> int:
    """Return the 32-bit id of a term: the same on every machine and in every run."""
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "big")


_cached_id = lru_cache(maxsize=65_536)(term_id)


def tokenise(text: str, language: str = "en") -> list[str]:
    """Return the terms of `text` in order: stemmed words, and identifiers (issue keys, versions, names) as they are.

    `language` is an ISO 639-1 code. A text that is not English yields a word's own stem and its English stem where
    they differ, so that a question whose language nobody knows, stemmed as English, still meets it. Scripts written
    without spaces give character pairs.
    """
    text = normalised(text)
    stemmers = _stemmers(language)
    terms: list[str] = []
    for word in _words(text):
        terms.extend(dict.fromkeys(_stem(name, each) for each in _spellings(word) for name in stemmers))
    terms.extend(identifiers(text))
    return terms


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        written = match.group()
        yield from _word(written.lower())
        humps = _HUMP.split(written)
        if len(humps) > 1:
            for hump in humps:
                yield from _word(hump.lower())


def _written(text: str) -> list[str]:
    """Return the words of `text` before stemming, marked. Stems conflate what a search for one word keeps apart: of the
    words in one SciFact abstract every sixth has the stem of a word in others.
    """
    return [f"{WRITTEN}{word}" for word in _words(normalised(text)) if not _UNSPACED_RUN.match(word)]


def _word(word: str) -> Iterator[str]:
    if word in ENGLISH:
        return
    word = word.removesuffix("'s").replace("'", "")
    if not word or word in ENGLISH:
        return
    for run in _RUN.findall(word):
        yield from _pairs(run) if _UNSPACED_RUN.match(run) else (run,)


def _spellings(word: str) -> tuple[str, ...]:
    """Return a word, and beside it itself without accents: people leave them out, and put them where none are."""
    if word.isascii():
        return (word,)
    return tuple(dict.fromkeys((word, _unaccented(word))))


@lru_cache(maxsize=65_536)
def _unaccented(word: str) -> str:
    # Only of letters that have an accent beside others (Latin, Greek, Cyrillic): elsewhere the signs are vowels.
    if _UNSPACED_RUN.search(word) or not _ALPHABETIC.search(word):
        return word
    bare = "".join(each for each in unicodedata.normalize("NFD", word) if unicodedata.category(each) != "Mn")
    return unicodedata.normalize("NFC", bare).translate(_STROKES)


def _pairs(run: str) -> Iterable[str]:
    return (run[at : at + 2] for at in range(max(1, len(run) - 1)))


def _stemmers(language: str) -> tuple[str, ...]:
    name = _LANGUAGES.get(language, "english")
    return ("english",) if name == "english" else (name, "english")


@lru_cache(maxsize=131_072)
def _stem(name: str, word: str) -> str:
    # A stemmer is not thread-safe and cheap to make; the cache makes it rare.
    return str(Stemmer.Stemmer(name, 0).stemWord(word))


def document_vector(
    body: str, title: str = "", heading: str = "", authors: Sequence[str] = (), language: str = "en"
) -> SparseTerms:
    """Return the BM25F vector of a chunk: weighted, length-normalised term frequencies, saturated once.

    The terms are those of `tokenise`, whose number is a field's length, and the words as they are written. For a term t
    with frequency f in each field: x = sum of weight * f / (1 - b + b * length / average), weight of t =
    x * (k1 + 1) / (k1 + x). Authors have b = 0: a long list of people makes none of them less the author.
    """
    frequencies: Counter[str] = Counter()
    for text, weight, average in (
        (body, BODY_WEIGHT, BODY_LENGTH),
        (title, TITLE_WEIGHT, TITLE_LENGTH),
        (heading, HEADING_WEIGHT, HEADING_LENGTH),
    ):
        terms = tokenise(text, language)
        _add(frequencies, terms, weight, average, len(terms))
        _add(frequencies, _written(text), weight, average, len(terms))
    _add(frequencies, tokenise(" ".join(authors)), AUTHOR_WEIGHT, None, 0)
    return _vector({term: x * (K1 + 1) / (K1 + x) for term, x in frequencies.items()})


def _add(frequencies: "Counter[str]", terms: Sequence[str], weight: float, average: float | None, length: int) -> None:
    norm = 1.0 if average is None else 1 - B + B * length / average
    for term in terms:
        frequencies[term] += weight / norm  # type: ignore[assignment]  # Counter adds floats as well


def query_vector(text: str, language: str = "en") -> SparseTerms:
    """Return the term frequencies of a question. The store multiplies them with the terms' IDF (modifier `idf`).

    Its n words as they are written count 1 / n**2 beside their stems: who looks for one word wants that word, and in a
    whole question the forms of words are grammar (with 1/2 for all, LoCoMo loses .8 points; decision 0005).
    """
    weights: Counter[str] = Counter()
    _add(weights, tokenise(text, language), 1.0, None, 0)
    written = _written(text)
    _add(weights, written, 1 / max(1, len(set(written))) ** 2, None, 0)
    return _vector(weights)


def is_one_word(text: str) -> bool:
    """Say whether a question asks with a single word or identifier, stop words aside, of a script with spaces."""
    words = [word for word in text.split() if tokenise(word)]
    return len(words) == 1 and not _UNSPACED_RUN.search(words[0])


def _vector(weights: Mapping[str, float]) -> SparseTerms:
    merged: dict[int, float] = {}
    for term, weight in weights.items():
        index = _cached_id(term)
        merged[index] = merged.get(index, 0.0) + weight
    ordered = sorted(merged.items())
    return SparseTerms(tuple(index for index, _ in ordered), tuple(float(value) for _, value in ordered))
