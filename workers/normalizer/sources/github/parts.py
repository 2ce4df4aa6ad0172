"""What several kinds of GitHub's webhook payloads hold: people, repositories, conversations, commits.

https://docs.github.com/en/webhooks/webhook-events-and-payloads. A field is optional here if any documented or recorded
payload lacks it or has null there.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict


def _moment(value: Any) -> Any:
    # A repository's times are numbers in `push` payloads and texts elsewhere; pydantic reads both, but not "".
    return value or None


Moment = Annotated[AwareDatetime | None, BeforeValidator(_moment)]
Prose = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A text that may be null."""


class Part(BaseModel):
    """A piece of a payload."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class User(Part):
    """An account: a person, a bot or an organization."""

    login: str
    type: str = "User"
    html_url: Prose = ""


class Label(Part):
    """A label of a repository."""

    name: str
    description: Prose = ""


class Team(Part):
    """A team of an organization."""

    slug: str
    name: str


class Repository(Part):
    """The repository that an event happened in."""

    id: int
    full_name: str
    html_url: Prose = ""
    description: Prose = ""
    homepage: Prose = ""
    language: Prose = ""
    topics: tuple[str, ...] = ()
    owner: User | None = None
    private: bool = False
    archived: bool = False
    fork: bool = False
    default_branch: Prose = ""
    created_at: Moment = None
    updated_at: Moment = None
    pushed_at: Moment = None


class Numbered(Part):
    """What issues, pull requests, discussions and milestones share."""

    id: int
    number: int
    title: Prose = ""
    html_url: Prose = ""
    state: Prose = ""
    created_at: Moment = None
    updated_at: Moment = None


class Milestone(Numbered):
    """A milestone."""

    description: Prose = ""
    creator: User | None = None
    due_on: Moment = None


class Branch(Part):
    """An end of a pull request."""

    ref: str = ""


class Issue(Numbered):
    """An issue or a pull request."""

    body: Prose = ""
    user: User | None = None
    labels: tuple[Label, ...] = ()
    assignees: tuple[User, ...] = ()
    milestone: Milestone | None = None
    locked: bool = False
    state_reason: Prose = ""
    closed_at: Moment = None
    # Pull requests only
    draft: bool | None = None
    merged_at: Moment = None
    merged_by: User | None = None
    requested_reviewers: tuple[dict[str, Any], ...] = ()
    base: Branch | None = None
    head: Branch | None = None
    pull_request: dict[str, Any] | None = None
    """Set on an issue that is a pull request."""


class Category(Part):
    """A category of discussions."""

    name: str


class Discussion(Numbered):
    """A discussion."""

    body: Prose = ""
    user: User | None = None
    labels: tuple[Label, ...] = ()
    category: Category | None = None
    answer_html_url: Prose = ""


class Comment(Part):
    """A comment on an issue, a pull request, a diff, a commit or in a discussion."""

    id: int
    body: Prose = ""
    html_url: Prose = ""
    user: User | None = None
    created_at: Moment = None
    updated_at: Moment = None
    path: Prose = ""
    line: int | None = None
    commit_id: Prose = ""
    in_reply_to_id: int | None = None


class Review(Part):
    """A review of a pull request."""

    id: int
    body: Prose = ""
    html_url: Prose = ""
    user: User | None = None
    state: Prose = ""
    submitted_at: Moment = None
    updated_at: Moment = None


class Thread(Part):
    """A thread of review comments."""

    comments: tuple[Comment, ...] = ()


class Release(Part):
    """A release."""

    id: int
    tag_name: str
    name: Prose = ""
    body: Prose = ""
    html_url: Prose = ""
    author: User | None = None
    draft: bool = False
    prerelease: bool = False
    created_at: Moment = None
    published_at: Moment = None
    updated_at: Moment = None


class Signature(Part):
    """Author or committer of a commit, as git has it; `username` where GitHub knows the account."""

    name: Prose = ""
    username: Prose = ""


class Commit(Part):
    """A commit of a push."""

    id: str
    message: Prose = ""
    timestamp: Moment = None
    url: Prose = ""
    author: Signature | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of `moments`, None if none is given."""
    given = [moment for moment in moments if moment is not None]
    return max(given) if given else None
