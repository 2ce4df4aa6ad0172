"""Who and what a text of GitHub mentions, by GitHub's own notation, outside code.

https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
and, for the words that close, https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`", re.DOTALL)
_LOGIN = r"[A-Za-z\d](?:[A-Za-z\d]|-(?=[A-Za-z\d])){0,38}"
_PERSON = re.compile(rf"(?<![\w/.`@+-])@({_LOGIN})(?:/([\w-]+))?(?![\w@/]|\.\w)")
_CLOSING = r"(?P<closes>(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+)?"
_REPOSITORY = r"[A-Za-z\d][A-Za-z\d-]{0,38}/[\w.-]{1,100}"
_REFERENCE = re.compile(
    rf"\b{_CLOSING}https?://github\.com/(?P<place>{_REPOSITORY})/(?P<part>issues|pull|discussions)/(?P<at>\d{{1,9}})\b"
    rf"|(?<![\w/&#-]){_CLOSING.replace('closes', 'closes2')}(?P<short>{_REPOSITORY})?"
    r"(?:#|(?<!\w)GH-)(?P<number>\d{1,9})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Person:
    """`@login`, or `@organization/team`."""

    login: str
    team: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """An issue, pull request or discussion; `repository` is empty where it is the text's own."""

    repository: str
    number: int
    discussion: bool = False
    closes: bool = False


def mentions(text: str) -> Iterator[Person | Reference]:
    """Yield what `text` mentions, people first, each as often as it stands there."""
    prose = _CODE.sub(" ", text)
    for match in _PERSON.finditer(prose):
        yield Person(match[1], match[2] or "")
    for match in _REFERENCE.finditer(prose):
        found = match.groupdict()
        yield Reference(
            repository=found["place"] or found["short"] or "",
            number=int(found["at"] or found["number"]),
            discussion=(found["part"] or "").lower() == "discussions",
            closes=bool(found["closes"] or found["closes2"]),
        )
