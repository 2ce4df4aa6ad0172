"""What a repository holds and publishes: commits, releases, milestones, packages, wiki pages, its description."""

from dataclasses import replace
from datetime import datetime

from schemas.documents import Author, MetadataValue
from workers.normalizer.sources.draft import THIS, Contents, Draft, Drafts, NotADocument, Revised, Unrevised
from workers.normalizer.sources.github.conversations import (
    GONE,
    access_of,
    access_to,
    authors_of,
    followed,
    parents_of,
    place,
    present,
    revised,
)
from workers.normalizer.sources.github.parts import Commit, Release, Repository, latest
from workers.normalizer.sources.github.payload import Payload
from workers.normalizer.sources.github.statements import Statements

_MAX_PATHS = 100
"""Changed files listed in a commit's metadata: a merge of thousands says nothing by its list."""
_MAX_TITLE = 200


def push(payload: Payload) -> Drafts:
    """Map event `push`: one document per commit."""
    commits = payload.commits or ((payload.head_commit,) if payload.head_commit else ())
    if not commits:
        return NotADocument("a push that deletes a branch or tag" if payload.deleted else "a push without commits")
    return tuple(_commit(payload, commit) for commit in commits)


def _commit(payload: Payload, commit: Commit) -> Draft:
    stated = Statements(payload)
    repository = present(payload.repository, "repository")
    name = f"{repository.full_name}@{commit.id}"
    key = stated.entity("commit", f"github:{name}", name)
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    authors: tuple[Author, ...] = ()
    if commit.author is not None and (commit.author.name or commit.author.username):
        authors = (Author(name=commit.author.name or commit.author.username, handle=commit.author.username),)
        if commit.author.username:
            login = commit.author.username
            stated.state(stated.entity("person", f"github:{login}", login), "AUTHORED", key)
    stated.mentioned(key, commit.message)
    facts = place(payload) | {"sha": commit.id, "ref": payload.ref}
    changes = {"added": commit.added, "removed": commit.removed, "modified": commit.modified}
    return Draft(
        f"commit:{repository.id}:{commit.id}",
        "commit",
        title=commit.message.partition("\n")[0][:_MAX_TITLE],
        text=commit.message or f"Commit {commit.id}",
        format="text",
        authors=authors,
        created_at=commit.timestamp,
        updated_at=commit.timestamp,
        url=commit.url,
        metadata=facts | {what: paths[:_MAX_PATHS] for what, paths in changes.items()},
        entities=stated.entities,
        relations=stated.relations,
        # A commit never changes: pushed again, to another branch, it is the same state.
        revision=Revised(commit.timestamp, exact=True) if commit.timestamp else Unrevised(),
        parents=parents_of(payload),
    )


def release(payload: Payload) -> Drafts:
    """Map event `release`."""
    subject = present(payload.release, "release")
    moments = (subject.updated_at, subject.published_at, subject.created_at)
    external_id = f"release:{subject.id}"
    if payload.action in GONE or payload.action == "unpublished":
        # A release that is taken back has no date of publication any more, and that of its creation is older.
        final = payload.action in GONE
        gone = Draft(external_id, "release", revision=followed(*moments), deleted=True, final=final)
        return (replace(gone, parents=parents_of(payload)),)
    stated = Statements(payload)
    name = f"{payload.repository.full_name if payload.repository else ''}@{subject.tag_name}"
    key = stated.entity("release", f"github:{name}", name)
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    stated.person(subject.author, "AUTHORED", key)
    stated.mentioned(key, subject.body)
    title = subject.name or subject.tag_name
    return (
        Draft(
            external_id,
            "release",
            title=title,
            text=subject.body if subject.body.strip() else title,
            authors=authors_of(subject.author),
            created_at=subject.created_at,
            updated_at=latest(subject.updated_at, subject.published_at, subject.created_at),
            url=subject.html_url,
            metadata=place(payload) | _release_facts(subject),
            entities=stated.entities,
            relations=stated.relations,
            revision=revised(*moments),
            parents=parents_of(payload),
        ),
    )


def _release_facts(subject: Release) -> dict[str, MetadataValue]:
    return {"tag": subject.tag_name, "draft": subject.draft, "prerelease": subject.prerelease}


def milestone(payload: Payload) -> Drafts:
    """Map event `milestone`."""
    subject = present(payload.milestone, "milestone")
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"milestone:{subject.id}"
    if payload.action in GONE:
        return (Draft(external_id, "milestone", revision=revision, deleted=True, parents=parents_of(payload)),)
    stated = Statements(payload)
    key = stated.numbered(subject.number, "milestone")
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    stated.person(subject.creator, "AUTHORED", key)
    stated.mentioned(key, subject.description)
    facts: dict[str, MetadataValue] = {"number": subject.number, "state": subject.state}
    if subject.due_on:
        facts["due_on"] = subject.due_on.isoformat()
    return (
        Draft(
            external_id,
            "milestone",
            title=subject.title,
            text=subject.description if subject.description.strip() else subject.title,
            authors=authors_of(subject.creator),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            url=subject.html_url,
            metadata=place(payload) | facts,
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents_of(payload),
        ),
    )


def package(payload: Payload) -> Drafts:
    """Map events `package` and `registry_package`: the notes of a published version."""
    subject = present(payload.package or payload.registry_package, "package")
    version = subject.package_version
    # For containers `body` is an object about the blob: nothing to read.
    notes = version.body if version is not None and isinstance(version.body, str) else ""
    if version is None or not (notes or version.description or version.summary).strip():
        return NotADocument("a package version without notes")
    stated = Statements(payload)
    key = stated.entity("package", f"github:{subject.name}@{version.version}", f"{subject.name} {version.version}")
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    stated.person(version.author, "AUTHORED", key)
    stated.mentioned(key, notes)
    updated_at = latest(version.updated_at, version.created_at, subject.updated_at)
    return (
        Draft(
            f"package_version:{version.id}",
            "package",
            title=f"{subject.name} {version.version}",
            text=notes or version.description or version.summary,
            authors=authors_of(version.author),
            created_at=version.created_at or subject.created_at,
            updated_at=updated_at,
            url=version.html_url or subject.html_url,
            metadata=place(payload)
            | {"package": subject.name, "version": version.version, "type": subject.package_type},
            entities=stated.entities,
            relations=stated.relations,
            revision=Revised(updated_at) if updated_at else Unrevised(),
            parents=parents_of(payload),
        ),
    )


_THERE = frozenset({"created", "publicized", "unarchived", "transferred"})
"""Actions that say of a repository that it is there (again), whatever was said before."""


def repository(payload: Payload) -> Drafts:
    """Map event `repository`: what the repository says of itself, and what becomes of all that stands in it."""
    subject = present(payload.repository, "repository")
    there = Contents.OPEN if payload.action in _THERE else Contents.UNTOUCHED
    if payload.action in {"deleted", "privatized"} or not subject.description.strip():
        return _unspoken(payload.action, subject, there)
    stated = Statements(payload)
    stated.state(THIS, "DESCRIBES", stated.repository_key)
    for topic in subject.topics:
        stated.state(stated.repository_key, "TAGGED", stated.entity("topic", f"github:{topic}", topic))
    stated.mentioned(stated.repository_key, subject.description)
    return (
        Draft(
            f"repository:{subject.id}",
            "repository",
            title=subject.full_name,
            text=subject.description,
            authors=authors_of(subject.owner),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            url=subject.html_url,
            links=(subject.homepage,),
            metadata={
                "repository": subject.full_name,
                "programming_language": subject.language,
                "topics": subject.topics,
                "private": subject.private,
                "archived": subject.archived,
            },
            entities=stated.entities,
            relations=stated.relations,
            revision=revised(subject.updated_at),
            parents=access_of(payload),
            contents=there,
        ),
    )


def _unspoken(action: str, subject: Repository, there: Contents) -> Drafts:
    """Return what becomes of a repository that says nothing of itself (any more)."""
    # `updated_at` is that of the repository's description; a push moves only the other one.
    revision = revised(subject.updated_at, subject.pushed_at)
    gone = Draft(f"repository:{subject.id}", "repository", revision=revision, deleted=True)
    if action == "deleted":
        return (replace(gone, contents=Contents.REMOVED),)
    if action == "privatized":
        # What was public must not be told on; what the team sends from now on, it sends of a private repository.
        return (replace(gone, final=False, contents=Contents.REMOVED_UP_TO_NOW),)
    if action == "edited" or there is Contents.OPEN:
        return (replace(gone, final=False, revision=revised(subject.updated_at), contents=there),)
    return NotADocument("a repository without a description")


def installation(payload: Payload) -> Drafts:
    """Map events `installation` and `installation_repositories`: which repositories an app may (no longer) read.

    A repository that an app loses sends nothing any more, not even that it is gone.
    """
    lost = payload.repositories_removed
    found = payload.repositories_added
    if payload.action in {"deleted", "suspend"}:
        lost = payload.repositories
    elif payload.action in {"created", "unsuspend", "new_permissions_accepted"}:
        found = payload.repositories
    at = payload.installation.updated_at if payload.installation else None
    drafts = [_granted(each, at, Contents.REMOVED) for each in lost] + [
        _granted(each, at, Contents.OPEN) for each in found
    ]
    return tuple(drafts) or NotADocument("set-up of an integration that names no repository")


def _granted(repository: Repository, at: datetime | None, contents: Contents) -> Draft:
    # The payload dates the installation, and no repository.
    return Draft(
        access_to(repository),
        "repository_access",
        revision=followed(at),
        deleted=True,
        final=False,
        contents=contents,
    )


def wiki(payload: Payload) -> Drafts:
    """Map event `gollum`: the payload has no page text, only what the editor said of the change."""
    noted = [page for page in payload.pages if page.summary.strip()]
    if not noted:
        return NotADocument("the text of a wiki page is not in the payload")
    drafts = []
    for page in noted:
        stated = Statements(payload)
        stated.part_of_repository()
        stated.person(payload.sender, "EDITED", THIS)
        drafts.append(
            Draft(
                f"wiki:{present(payload.repository, 'repository').id}:{page.page_name}:{page.sha}",
                "wiki_change",
                title=page.title or page.page_name,
                text=page.summary,
                authors=authors_of(payload.sender),
                url=page.html_url,
                metadata=place(payload) | {"page": page.page_name, "action": page.action, "sha": page.sha},
                entities=stated.entities,
                relations=stated.relations,
                parents=parents_of(payload),
            )
        )
    return tuple(drafts)
