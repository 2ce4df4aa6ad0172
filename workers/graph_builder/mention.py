"""Finds names that the workspace already knows in a text. Never guesses a name: two capitalised words are no person.

Which names are looked for, by kind of entity (all others, above all labels such as `bug`, are ordinary words):

- `person`, `user`, `bot`, `organization`: a name of two or more words, spelt and capitalised exactly as known
  ("Will Read" is a person, "will read" is not); a one-word name or alias only as `@handle`, in any case.
- `repository`: `owner/name`, in any case.
- `team`: `@owner/name`, in any case.
- `issue`, `pull_request`, `discussion`: only the form `owner/name#12`, in any case.

A name that two entities bear is ambiguous and links to neither.
"""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick, Implementation

PEOPLE = frozenset({"person", "user", "bot", "organization"})
REPOSITORIES = frozenset({"repository"})
TEAMS = frozenset({"team"})
NUMBERED = frozenset({"issue", "pull_request", "discussion"})
KINDS = PEOPLE | REPOSITORIES | TEAMS | NUMBERED

NAME_MIN, NAME_MAX = 5, 100
"""Characters of a full name: shorter ones ("Al Yu") meet ordinary text by chance."""

# ASCII alone is folded: str.lower() may change the length of a text ("İ"), and offsets must stay those of the text.
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_HANDLE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9_])?")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_NUMBERED = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}#[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Known:
    """An entity of the workspace as the graph names it."""

    key: str
    kind: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """`text[start:end]` is the first place where the entity is named; `count` says how often it is."""

    key: str
    start: int
    end: int
    count: int


@dataclass(frozen=True, slots=True)
class _Form:
    """A spelling of a name: `exact` where its case counts."""

    pattern: str
    exact: str | None
    key: str


class Gazetteer:
    """The known names of one workspace, compiled into one automaton. Immutable; safe to use from a thread."""

    def __init__(self, entities: Iterable[Known]) -> None:
        bearers: dict[tuple[str, str | None], set[str]] = {}
        for entity in entities:
            for form in forms_of(entity):
                bearers.setdefault((form.pattern, form.exact), set()).add(form.key)
        self._forms: dict[str, dict[str | None, str]] = {}
        for (pattern, exact), keys in bearers.items():
            if len(keys) == 1:
                self._forms.setdefault(pattern, {})[exact] = next(iter(keys))
        self._patterns = sorted(self._forms)
        # Several times smaller and quicker to build than a DFA, which would hold a row per state for each byte.
        self._automaton = AhoCorasick(self._patterns, implementation=Implementation.ContiguousNFA, store_patterns=False)

    def __len__(self) -> int:
        """Return how many spellings are looked for."""
        return len(self._patterns)

    def find(self, text: str) -> list[Mention]:
        """Return the entities that `text` names, in the order of their first place.

        Of overlapping names the leftmost counts, of those the longest. Boundaries are checked before that choice, so
        that "Ann Lee" is found in "Ann Lee Joneson" although "Ann Lee Jones" is known and begins there too.
        """
        if not self._patterns:
            return []
        found: dict[str, Mention] = {}
        reached = 0
        for start, end, key in sorted(self._candidates(text), key=lambda hit: (hit[0], -hit[1])):
            if start < reached:
                continue
            reached = end
            first = found.get(key)
            found[key] = Mention(key, start, end, 1) if first is None else _again(first)
        return list(found.values())

    def _candidates(self, text: str) -> Iterable[tuple[int, int, str]]:
        folded = text.translate(_FOLD)
        for position, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            pattern = self._patterns[position]
            forms = self._forms[pattern]
            key = forms.get(text[start:end]) or forms.get(None)
            if key is not None and _bounded(text, start, end, " " not in pattern):
                yield start, end, key


def forms_of(entity: Known) -> list[_Form]:
    """Return the spellings by which `entity` is looked for (see the module), none for a kind that is not safe."""
    names = dict.fromkeys(name.strip() for name in (entity.name, *entity.aliases))
    if entity.kind in PEOPLE:
        return [form for name in names if (form := _person(entity.key, name))]
    if entity.kind not in KINDS:
        return []
    shape, mark = _NUMBERED if entity.kind in NUMBERED else _REPOSITORY, "@" if entity.kind in TEAMS else ""
    return [_Form(mark + name.translate(_FOLD), None, entity.key) for name in names if shape.fullmatch(name)]


def _person(key: str, name: str) -> _Form | None:
    handle = name.removeprefix("@")
    if _HANDLE.fullmatch(handle):
        return _Form("@" + handle.translate(_FOLD), None, key)
    # A full name without an upper-case letter is no name that case could tell from a phrase.
    if len(name.split()) > 1 and NAME_MIN <= len(name) <= NAME_MAX and name.lower() != name:
        return _Form(name.translate(_FOLD), name, key)
    return None


def _again(mention: Mention) -> Mention:
    return Mention(mention.key, mention.start, mention.end, mention.count + 1)


def _bounded(text: str, start: int, end: int, technical: bool) -> bool:
    """Return whether the match stands alone. A technical name (handle, repository) also ends where a path goes on:
    `owner/name` is not in `owner/name.js`, in `owner/name/x` or in an address, and a full stop after it is.
    """
    before, after = text[start - 1 : start], text[end : end + 2]
    if _wordlike(before) or _wordlike(after[:1]):
        return False
    if not technical:
        return True
    if before in {"/", "@", ".", "-", "#"} or after[:1] in {"/", "-", "#", "@"}:
        return False
    return not (after[:1] == "." and _wordlike(after[1:]))


def _wordlike(character: str) -> bool:
    return character.isalnum() or character == "_"
