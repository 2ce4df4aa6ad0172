"""A GitHub webhook payload, as far as it is read. Everything else in it is ignored.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from typing import Any

from pydantic import Field

from workers.normalizer.sources.github.parts import (
    Comment,
    Commit,
    Discussion,
    Issue,
    Milestone,
    Moment,
    Part,
    Prose,
    Release,
    Repository,
    Review,
    Thread,
    User,
)


class Installation(Part):
    """An app, as it is installed for an account."""

    id: int
    updated_at: Moment = None


class Card(Part):
    """A card of a classic project; `project_url` ends in the project's id."""

    id: int
    project_url: Prose = ""
    note: Prose = ""
    creator: User | None = None
    created_at: Moment = None
    updated_at: Moment = None
    archived: bool = False


class Project(Part):
    """A project, classic or new; only a new one is named by its `node_id`."""

    id: int
    node_id: Prose = ""
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
    project_node_id: Prose = ""
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
    installation: Installation | None = None
    repositories: tuple[Repository, ...] = ()
    repositories_added: tuple[Repository, ...] = ()
    repositories_removed: tuple[Repository, ...] = ()
