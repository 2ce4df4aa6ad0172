"""GitHub's people, repositories, issues and labels as entities, and what payloads state about them.

Keys keep GitHub's own spelling (`person:github:Codertocat`). Issues and pull requests share one sequence of numbers in
a repository, so both are `issue:github:owner/name#n`: a mention `#2` cannot tell which it is.
"""

from workers.normalizer.sources.draft import THIS
from workers.normalizer.sources.facts import Facts
from workers.normalizer.sources.github.mentions import Person, mentions
from workers.normalizer.sources.github.parts import Label, Milestone, Repository, User
from workers.normalizer.sources.github.payload import Payload

CLOSES = "CLOSES"
MENTIONS = "MENTIONS"


class Statements(Facts):
    """Facts of one document of a repository (or of none, for a security advisory)."""

    def __init__(self, payload: Payload) -> None:
        super().__init__()
        self._place = payload.repository.full_name if payload.repository else ""
        self._spelling: dict[str, str] = {}
        self.repository_key = self.repository(payload.repository) if payload.repository else ""

    def person(self, user: User | None, predicate: str = "", target: str = "") -> str:
        """Note an account and, if given, that it `predicate` `target`. Returns its key, empty for a deleted account."""
        if user is None:
            return ""
        kind = "organization" if user.type == "Organization" else "person"
        self._spelling[user.login.lower()] = user.login
        key = self.entity(kind, f"github:{user.login}", user.login)
        if predicate:
            self.state(key, predicate, target)
        return key

    def repository(self, repository: Repository) -> str:
        """Note a repository and who owns it."""
        key = self.entity("repository", f"github:{repository.full_name}", repository.full_name)
        self._spelling[repository.full_name.lower()] = repository.full_name
        if repository.owner is not None:
            self.person(repository.owner, "OWNS", key)
        return key

    def numbered(self, number: int, kind: str = "issue", place: str = "") -> str:
        """Note an issue, pull request, discussion or milestone of `place`, by default of this repository."""
        place = self._spelling.get(place.lower(), place) or self._place
        mark = "#" if kind != "milestone" else "/milestone/"
        name = f"{place}{mark}{number}"
        return self.entity(kind, f"github:{name}", name)

    def labelled(self, subject: str, labels: tuple[Label, ...]) -> None:
        """Note the labels that `subject` carries."""
        for label in labels:
            key = self.entity("label", f"github:{self._place}/{label.name}", label.name)
            self.state(subject, "LABELLED", key)

    def planned(self, subject: str, milestone: Milestone | None) -> None:
        """Note the milestone that `subject` belongs to."""
        if milestone is not None:
            key = self.entity(
                "milestone",
                f"github:{self._place}/milestone/{milestone.number}",
                milestone.title or str(milestone.number),
            )
            self.state(subject, "IN_MILESTONE", key)

    def mentioned(self, subject: str, text: str) -> None:
        """Note whom and what `text`, a part of `subject`, mentions and promises to close."""
        for mention in mentions(text):
            if isinstance(mention, Person):
                self.state(subject, MENTIONS, self._mentioned_person(mention))
            else:
                kind = "discussion" if mention.discussion else "issue"
                target = (
                    self.numbered(mention.number, kind, mention.repository) if self._knows(mention.repository) else ""
                )
                if target:
                    self.state(subject, CLOSES if mention.closes else MENTIONS, target)

    def part_of_repository(self, subject: str = THIS) -> None:
        """Note that `subject` belongs to the payload's repository."""
        if self.repository_key:
            self.state(subject, "PART_OF", self.repository_key)

    def _knows(self, place: str) -> bool:
        return bool(place or self._place)

    def _mentioned_person(self, mention: Person) -> str:
        login = self._spelling.get(mention.login.lower(), mention.login)
        if mention.team:
            name = f"{login}/{mention.team}"
            return self.entity("team", f"github:{name}", name)
        # An organization of this payload is mentioned like a person.
        known = f"organization:github:{login}"
        if any(entity.key == known for entity in self.entities):
            return known
        return self.entity("person", f"github:{login}", login)
