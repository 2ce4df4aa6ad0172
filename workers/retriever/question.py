"""Reads the conversation: what is asked, what is searched for, and whom it names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.models.sparse import tokenise
from schemas.chat import ChatMessage

SEARCHED_CHARACTERS = 8_000
"""Most that is searched for: an encoder reads about the first 1,000, and the list of words grows with the text. Of a
longer question, such as a pasted log, both ends are taken: what is asked stands at one of them."""
FOLLOW_UP_CHARACTERS = 1_000
"""A longer question is no follow-up, whatever it starts with."""
FOLLOW_UP_TERMS = 2
"""A question with so few terms of its own ("and in Java?") is read together with the one before it."""
_POINTS_BACK = re.compile(
    r"\b(it|its|they|them|their|theirs|this|that|these|those|he|him|his|she|her|hers|the (?:former|latter|same))\b",
    re.IGNORECASE,
)
_STARTS_AS_FOLLOW_UP = re.compile(r"^\W*(and|or|but|so|then|what about|how about|why not|what else)\b", re.IGNORECASE)

NAME_WORDS = 4
"""Longest name looked for, in words."""
NAMED_WITHIN = 64
"""Words of a question in which names are looked for."""
_EDGE = '.,;:!?"“”‘()<>{}…'
_POSSESSIVE = re.compile(r"['’]s?$")


@dataclass(frozen=True, slots=True)
class Question:
    """`asked` is the last user message; `searched` is what both lists are asked with."""

    asked: str
    searched: str


def read_question(messages: Sequence[ChatMessage]) -> Question:
    """Return the question of a conversation: its last user message, or its last message if no user spoke.

    A follow-up is searched together with the user message before it: one that has at most two terms of its own, that
    starts like one ("and", "what about"), or that points back ("it", "they") with at most five terms.
    """
    asked = [message.content.strip() for message in messages if message.role == "user" and message.content.strip()]
    if not asked:
        return Question(messages[-1].content, messages[-1].content)
    last = asked[-1]
    if len(asked) > 1 and _is_follow_up(last):
        return Question(last, _ends(f"{asked[-2]}\n{last}"))
    return Question(last, _ends(last))


def _ends(text: str) -> str:
    if len(text) <= SEARCHED_CHARACTERS:
        return text
    half = SEARCHED_CHARACTERS // 2
    return f"{text[:half]}\n{text[-half + 1 :]}"


def _is_follow_up(text: str) -> bool:
    if len(text) > FOLLOW_UP_CHARACTERS:
        return False
    terms = len(tokenise(text))
    short = terms <= FOLLOW_UP_TERMS
    return short or bool(_STARTS_AS_FOLLOW_UP.match(text)) or (terms <= 5 and bool(_POINTS_BACK.search(text)))  # noqa: PLR2004


def possible_names(text: str) -> list[str]:
    """Return what in `text` could be an author's name or handle: runs of one to four words, lower case, each once."""
    words = [_bare(word) for word in text.split()[:NAMED_WITHIN]]
    names: dict[str, None] = {}
    for length in range(1, NAME_WORDS + 1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            # A run of stop words alone is grammar, not a name.
            if all(run) and tokenise(" ".join(run)):
                names[" ".join(run).lower()] = None
    return list(names)


def _bare(word: str) -> str:
    return _POSSESSIVE.sub("", word.strip(_EDGE).removeprefix("@")).strip(_EDGE)


def without_names(text: str, names: Iterable[str]) -> str:
    """Return `text` without `names` and their possessives, or `text` itself if nothing would be left.

    A lower-case single word stays (unless marked with @): it may well be the thing asked about ("kafka"), and losing
    it costs more than a name in the embedding does.
    """
    rest = text
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<![\w@])@?{re.escape(name)}(?:['’]s?)?(?!\w)"
        rest = re.sub(pattern, _drop_name, rest, flags=re.IGNORECASE)
    rest = " ".join(rest.split())
    return rest if tokenise(rest) else text


def _drop_name(match: re.Match[str]) -> str:
    found = match.group()
    return " " if " " in found or not found[0].islower() else found
