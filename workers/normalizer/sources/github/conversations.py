"""Issues, pull requests, discussions and everything said about them."""

from typing import TypeVar

from schemas.documents import Author, MetadataValue
from workers.normalizer.sources.draft import (
    THIS,
    Contents,
    Draft,
    Drafts,
    Follows,
    NotADocument,
    Revised,
    Revision,
    Unrevised,
)
from workers.normalizer.sources.github.parts import Comment, Discussion, Issue, Moment, Part, Repository, User, latest
from workers.normalizer.sources.github.payload import Payload
from workers.normalizer.sources.github.statements import Statements

About = TypeVar("About", bound=Part)

GONE = frozenset({"deleted", "transferred"})
"""Actions after which the object is no longer where it was; a transferred issue has a new id in its new place."""


def present(part: About | None, name: str) -> About:
    """Return `part`. Raises ValueError if the payload lacks what its event is about."""
    if part is None:
        raise ValueError(f"{name} is missing")
    return part


def revised(*moments: Moment) -> Revision:
    """Return the revision by the latest of `moments`."""
    at = latest(*moments)
    return Revised(at) if at else Unrevised()


def followed(*moments: Moment) -> Revision:
    """Return the revision of a change that the payload dates by what it empties, or by nothing of its own."""
    return Follows(latest(*moments))


def parents_of(payload: Payload, *inner: str) -> tuple[str, ...]:
    """Return what a thing of the payload's repository stands in, outermost first."""
    if payload.repository is None:
        return inner
    repository = f"repository:{payload.repository.id}"
    return (*access_of(payload), repository, *inner)


def access_of(payload: Payload) -> tuple[str, ...]:
    """Return what everything stands in that an app was sent: its access to the repository.

    A name of its own, since the events that tell of it stand in another partition than those of the repository.
    """
    if payload.installation is None or payload.repository is None:
        return ()
    return (access_to(payload.repository),)


def access_to(repository: Repository) -> str:
    """Return the name of an app's access to a repository."""
    return f"repository_access:{repository.id}"


def authors_of(user: User | None) -> tuple[Author, ...]:
    """Return the author, none for a deleted account."""
    return (Author(name=user.login, handle=user.login),) if user else ()


def place(payload: Payload) -> dict[str, MetadataValue]:
    """Return the metadata that every document of a repository carries."""
    return {"repository": payload.repository.full_name} if payload.repository else {}


def issue(payload: Payload) -> Drafts:
    """Map event `issues`."""
    return (_issue(payload, present(payload.issue, "issue"), "issue"),)


def pull_request(payload: Payload) -> Drafts:
    """Map event `pull_request`."""
    return (_issue(payload, present(payload.pull_request, "pull_request"), "pull_request"),)


def _issue(payload: Payload, subject: Issue, kind: str) -> Draft:
    # `updated_at` alone: a pull request's merge also updates it.
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"{kind}:{subject.id}"
    parents = parents_of(payload)
    if payload.action in GONE:
        # Nothing is sent of its comments and reviews.
        return Draft(external_id, kind, revision=revision, deleted=True, parents=parents, contents=Contents.REMOVED)
    stated = Statements(payload)
    key = stated.numbered(subject.number)
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    stated.person(subject.user, "AUTHORED", key)
    for assignee in subject.assignees:
        stated.state(key, "ASSIGNED_TO", stated.person(assignee))
    stated.labelled(key, subject.labels)
    stated.planned(key, subject.milestone)
    if subject.merged_at:
        stated.person(subject.merged_by, "MERGED", key)
    for reviewer in subject.requested_reviewers:
        if reviewer.get("login"):
            stated.state(key, "REVIEW_REQUESTED_FROM", stated.person(User.model_validate(reviewer)))
    stated.mentioned(key, subject.body)
    return Draft(
        external_id,
        kind,
        title=subject.title,
        text=subject.body if subject.body.strip() else subject.title,
        authors=authors_of(subject.user),
        created_at=subject.created_at,
        updated_at=subject.updated_at,
        url=subject.html_url,
        metadata=place(payload) | _issue_facts(subject),
        entities=stated.entities,
        relations=stated.relations,
        revision=revision,
        parents=parents,
    )


def _issue_facts(subject: Issue) -> dict[str, MetadataValue]:
    facts: dict[str, MetadataValue] = {"number": subject.number, "state": subject.state}
    facts["labels"] = tuple(label.name for label in subject.labels)
    facts["assignees"] = tuple(user.login for user in subject.assignees)
    facts["milestone"] = subject.milestone.title if subject.milestone else ""
    facts["state_reason"] = subject.state_reason
    if subject.base is not None and subject.head is not None:
        facts |= {"base": subject.base.ref, "head": subject.head.ref, "merged": subject.merged_at is not None}
        facts["draft"] = bool(subject.draft)
    return facts


def discussion(payload: Payload) -> Drafts:
    """Map event `discussion`."""
    subject = present(payload.discussion, "discussion")
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"discussion:{subject.id}"
    if payload.action in GONE:
        parents = parents_of(payload)
        gone = Draft(
            external_id, "discussion", revision=revision, deleted=True, parents=parents, contents=Contents.REMOVED
        )
        return (gone,)
    stated = Statements(payload)
    key = stated.numbered(subject.number, "discussion")
    stated.state(THIS, "DESCRIBES", key)
    stated.part_of_repository(key)
    stated.person(subject.user, "AUTHORED", key)
    stated.labelled(key, subject.labels)
    stated.mentioned(key, subject.body)
    return (
        Draft(
            external_id,
            "discussion",
            title=subject.title,
            text=subject.body if subject.body.strip() else subject.title,
            authors=authors_of(subject.user),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            url=subject.html_url,
            metadata=place(payload) | _discussion_facts(subject),
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents_of(payload),
        ),
    )


def _discussion_facts(subject: Discussion) -> dict[str, MetadataValue]:
    return {
        "number": subject.number,
        "state": subject.state,
        "category": subject.category.name if subject.category else "",
        "labels": tuple(label.name for label in subject.labels),
        "answered": bool(subject.answer_html_url),
    }


def comment(payload: Payload) -> Drafts:
    """Map `issue_comment`, `pull_request_review_comment`, `commit_comment` and `discussion_comment`."""
    return (_comment(payload, present(payload.comment, "comment")),)


def thread(payload: Payload) -> Drafts:
    """Map `pull_request_review_thread`: it brings all comments of the thread along."""
    spoken = tuple(comment for comment in present(payload.thread, "thread").comments if comment.body.strip())
    if not spoken:
        return NotADocument("a review thread without comments")
    return tuple(_comment(payload, comment) for comment in spoken)


def _comment_kind(payload: Payload) -> str:
    if payload.discussion is not None:
        return "discussion_comment"
    if payload.pull_request is not None:
        return "review_comment"
    return "issue_comment" if payload.issue is not None else "commit_comment"


def _comment(payload: Payload, subject: Comment) -> Draft:
    kind = _comment_kind(payload)
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"{kind}:{subject.id}"
    about = payload.issue or payload.pull_request or payload.discussion
    parents = _above_comment(payload, subject)
    if payload.action in GONE:
        return Draft(external_id, kind, revision=revision, deleted=True, parents=parents)
    # Emptied by an edit, it says nothing any more: what it said before must go.
    if not subject.body.strip():
        return Draft(external_id, kind, revision=revision, deleted=True, final=False, parents=parents)
    stated = Statements(payload)
    stated.part_of_repository()
    stated.person(subject.user, "AUTHORED", THIS)
    facts = place(payload) | {"path": subject.path}
    if subject.line is not None:
        facts["line"] = subject.line
    if about is not None:
        key = stated.numbered(about.number, "discussion" if payload.discussion else "issue")
        stated.state(THIS, "COMMENTS_ON", key)
        stated.part_of_repository(key)
        facts["number"] = about.number
    elif subject.commit_id:
        name = f"{payload.repository.full_name if payload.repository else ''}@{subject.commit_id}"
        stated.state(THIS, "COMMENTS_ON", stated.entity("commit", f"github:{name}", name))
        facts["commit"] = subject.commit_id
    stated.mentioned(THIS, subject.body)
    return Draft(
        external_id,
        kind,
        title=_comment_title(about, subject),
        text=subject.body,
        authors=authors_of(subject.user),
        created_at=subject.created_at,
        updated_at=subject.updated_at,
        url=subject.html_url,
        metadata=facts,
        entities=stated.entities,
        relations=stated.relations,
        revision=revision,
        parents=parents,
    )


def _above_comment(payload: Payload, subject: Comment) -> tuple[str, ...]:
    """Return what a comment stands in: repository, and issue, pull request, discussion or commit."""
    if payload.issue is not None:
        return parents_of(payload, f"issue:{payload.issue.id}")
    if payload.pull_request is not None:
        return parents_of(payload, f"pull_request:{payload.pull_request.id}")
    if payload.discussion is not None:
        return parents_of(payload, f"discussion:{payload.discussion.id}")
    if payload.repository is not None and subject.commit_id:
        return parents_of(payload, f"commit:{payload.repository.id}:{subject.commit_id}")
    return parents_of(payload)


def _comment_title(about: Issue | Discussion | None, subject: Comment) -> str:
    if about is not None:
        return f"Comment on {about.title or f'#{about.number}'}"
    return f"Comment on commit {subject.commit_id[:7]}" if subject.commit_id else "Comment"


def review(payload: Payload) -> Drafts:
    """Map `pull_request_review`: a document if the reviewer wrote something."""
    subject = present(payload.review, "review")
    about = present(payload.pull_request, "pull_request")
    revision = revised(subject.updated_at, subject.submitted_at)
    external_id = f"review:{subject.id}"
    parents = parents_of(payload, f"pull_request:{about.id}")
    if not subject.body.strip():
        if payload.action == "edited":
            return (Draft(external_id, "review", revision=revision, deleted=True, final=False, parents=parents),)
        return NotADocument(f"a review ({subject.state or payload.action}) without a text")
    stated = Statements(payload)
    key = stated.numbered(about.number)
    stated.part_of_repository(key)
    stated.person(subject.user, "AUTHORED", THIS)
    stated.person(subject.user, "REVIEWED", key)
    stated.state(THIS, "COMMENTS_ON", key)
    stated.mentioned(THIS, subject.body)
    return (
        Draft(
            external_id,
            "review",
            title=f"Review of {about.title or f'#{about.number}'}",
            text=subject.body,
            authors=authors_of(subject.user),
            created_at=subject.submitted_at,
            updated_at=latest(subject.updated_at, subject.submitted_at),
            url=subject.html_url,
            metadata=place(payload) | {"number": about.number, "state": subject.state},
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents,
        ),
    )
