"""The parts of GitHub's webhook payloads that are read. Everything else in a payload is ignored.

https://docs.github.com/en/webhooks/webhook-events-and-payloads. A field is optional here if any documented or recorded
payload lacks it or has null there.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field


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


class Card(Part):
    """A card of a classic project."""

    id: int
    note: Prose = ""
    creator: User | None = None
    created_at: Moment = None
    updated_at: Moment = None
    archived: bool = False


class Project(Part):
    """A project, classic or new."""

    id: int
    name: Prose = ""
    title: Prose = ""
    body: Prose = ""
    description: Prose = ""
    short_description: Prose = ""
    html_url: Prose = ""
    creator: User | None = None
    created_at: Moment = None
    updated_at: Moment = None


class StatusUpdate(Part):
    """A status update of a project."""

    id: int
    body: Prose = ""
    status: Prose = ""
    creator: User | None = None
    created_at: Moment = None
    updated_at: Moment = None


class PackageVersion(Part):
    """A version of a package; `body` is an object for containers."""

    id: int
    version: str
    html_url: Prose = ""
    summary: Prose = ""
    description: Prose = ""
    body: Any = None
    author: User | None = None
    created_at: Moment = None
    updated_at: Moment = None


class Package(Part):
    """A package of a registry."""

    id: int
    name: str
    html_url: Prose = ""
    package_type: Prose = ""
    created_at: Moment = None
    updated_at: Moment = None
    package_version: PackageVersion | None = None


class Reference(Part):
    """An address or an identifier of an advisory."""

    url: str = ""
    value: str = ""


class AffectedPackage(Part):
    """A package by name and ecosystem."""

    name: str
    ecosystem: str = ""


class Vulnerability(Part):
    """A package that an advisory is about."""

    package: AffectedPackage


class Advisory(Part):
    """A security advisory."""

    ghsa_id: str
    cve_id: str | None = None
    summary: Prose = ""
    description: Prose = ""
    severity: Prose = ""
    html_url: Prose = ""
    references: tuple[Reference, ...] = ()
    vulnerabilities: tuple[Vulnerability, ...] = ()
    published_at: Moment = None
    updated_at: Moment = None
    withdrawn_at: Moment = None


class Rule(Part):
    """A rule of a code scanner."""

    id: str = ""
    severity: Prose = ""
    name: Prose = ""
    description: Prose = ""
    full_description: Prose = ""
    help: Prose = ""


class Alert(Part):
    """A security alert of any kind; which fields are set depends on it."""

    number: int
    state: Prose = ""
    html_url: Prose = ""
    created_at: Moment = None
    updated_at: Moment = None
    fixed_at: Moment = None
    dismissed_at: Moment = None
    security_advisory: Advisory | None = None
    rule: Rule | None = None


class Page(Part):
    """A changed wiki page; its text is not in the payload, only the editor's summary."""

    page_name: str
    title: Prose = ""
    summary: Prose = ""
    action: Prose = ""
    sha: Prose = ""
    html_url: Prose = ""


class Payload(Part):
    """A webhook payload: the parts by which its kind is known."""

    action: Prose = ""
    repository: Repository | None = None
    organization: User | None = None
    sender: User | None = None
    issue: Issue | None = None
    pull_request: Issue | None = None
    comment: Comment | None = None
    review: Review | None = None
    thread: Thread | None = None
    discussion: Discussion | None = None
    release: Release | None = None
    milestone: Milestone | None = None
    ref: Prose = ""
    deleted: bool = False
    commits: tuple[Commit, ...] = ()
    head_commit: Commit | None = None
    project_card: Card | None = None
    project: Project | None = None
    projects_v2: Project | None = None
    projects_v2_status_update: StatusUpdate | None = None
    package: Package | None = None
    registry_package: Package | None = None
    security_advisory: Advisory | None = None
    repository_advisory: Advisory | None = None
    alert: Alert | None = None
    pages: tuple[Page, ...] = Field(default=())


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of `moments`, None if none is given."""
    given = [moment for moment in moments if moment is not None]
    return max(given) if given else None
