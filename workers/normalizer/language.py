"""Tells the language of a text."""

from functools import lru_cache
from threading import Lock

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SHORT = 40
"""Letters below which a guess is as often wrong as right (single words, identifiers)."""
SURE = 0.5
"""Least share of the probability that a language must hold against all others; see py3langid's `norm_probs`."""
_SAMPLE = 4_000
_LOADING = Lock()


@lru_cache(maxsize=1)
def _loaded() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _identifier() -> LanguageIdentifier:
    # The cache alone lets each of several threads load a model of its own at the start: 80 MB each.
    with _LOADING:
        return _loaded()


def language_of(text: str) -> str:
    """Return the ISO 639-1 code of the language that `text` is written in, empty if too short or not clear."""
    sample = text[:_SAMPLE]
    if sum(character.isalpha() for character in sample) < SHORT:
        return ""
    code, probability = _identifier().classify(sample)
    return str(code) if probability >= SURE and len(code) == 2 else ""  # noqa: PLR2004 - ISO 639-1 has two letters
