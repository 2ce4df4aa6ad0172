"""Fences retrieved text, so that a language model can tell data from instructions.

Retrieved text is written by anyone who can open an issue or send a mail. It cannot end its own fence, because the
fence carries a mark that is checked to be in none of the texts, and it cannot fake a turn of the conversation,
because the marks that chat templates use for turns are broken up (llama.cpp and others parse them inside messages).
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

from schemas.chat import Passage

MARK_BYTES = 8

_TURN_MARKS = re.compile(
    r"<(?=\|[^|<>]{1,64}\|>)"  # ChatML, Llama 3, Phi
    r"|<(?=/?s>)|\[(?=/?INST\])|<(?=</?SYS>>)"  # Llama 2, Mistral
    r"|<(?=/?(?:start|end)_of_turn>)"  # Gemma
    r"|<(?=｜[^｜<>]{1,64}｜>)",  # DeepSeek
    re.IGNORECASE,
)
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""Control, bidirectional-override and tag characters: a model reads what no person sees."""


def fence_mark(seed: str, passages: Sequence[Passage]) -> str:
    """Return 16 hexadecimal digits that occur in none of the passages.

    It depends on `seed` and the passages alone: a redelivered request gives the same prompt.
    """
    texts = [part for passage in passages for part in _parts(passage)]
    attempt = 0
    while True:
        content = "\x1f".join((seed, str(attempt), *texts)).encode("utf-8", "surrogatepass")
        mark = blake2b(content, digest_size=MARK_BYTES).hexdigest()
        if not any(mark in text for text in texts):
            return mark
        attempt += 1


def fenced(passage: Passage, mark: str) -> str:
    """Return the passage between its fences, what is known of it first; `mark` comes from `fence_mark`."""
    told = [
        f"{name}: {_one_line(value)}"
        for name, value in (
            ("title", passage.title),
            ("section", passage.heading),
            ("by", ", ".join(passage.authors)),
            ("date", passage.updated_at.date().isoformat() if passage.updated_at else ""),
        )
        if value
    ]
    head = f"<<<SOURCE {passage.number} {mark}>>>"
    return "\n".join((head, *told, "", harmless(passage.text), f"<<<END SOURCE {passage.number} {mark}>>>"))


def harmless(text: str) -> str:
    """Return `text` with template marks broken by a space and unseen characters removed."""
    return _TURN_MARKS.sub(lambda match: f"{match.group()} ", _UNSEEN.sub("", text))


def _one_line(text: str) -> str:
    return harmless(" ".join(text.split()))[:200]


def _parts(passage: Passage) -> tuple[str, ...]:
    # After `harmless`: removing an unseen character must not be what completes the mark.
    return (harmless(passage.text), *(_one_line(part) for part in (passage.title, passage.heading, *passage.authors)))
