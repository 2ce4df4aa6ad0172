"""Projects and their cards."""

from dataclasses import replace

from workers.normalizer.sources.draft import THIS, Contents, Draft, Drafts, NotADocument
from workers.normalizer.sources.github.conversations import GONE, authors_of, parents_of, place, present, revised
from workers.normalizer.sources.github.payload import Payload
from workers.normalizer.sources.github.statements import Statements


def card(payload: Payload) -> Drafts:
    """Map event `project_card`: a document if it has a note of its own; else it stands for an issue."""
    subject = present(payload.project_card, "project_card")
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"project_card:{subject.id}"
    project = subject.project_url.rpartition("/")[2]
    parents = parents_of(payload, *([f"project:{project}"] if project else []))
    gone = Draft(external_id, "project_card", revision=revision, deleted=True, parents=parents)
    if payload.action in GONE:
        return (gone,)
    if not subject.note.strip():
        if payload.action in {"edited", "converted"}:
            return (replace(gone, final=False),)
        return NotADocument("a project card without a note")
    stated = Statements(payload)
    stated.part_of_repository()
    stated.person(subject.creator, "AUTHORED", THIS)
    stated.mentioned(THIS, subject.note)
    return (
        Draft(
            external_id,
            "project_card",
            title=subject.note.strip().partition("\n")[0],
            text=subject.note,
            authors=authors_of(subject.creator),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            metadata=place(payload) | {"archived": subject.archived},
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents,
        ),
    )


def project(payload: Payload) -> Drafts:
    """Map events `project` and `projects_v2`."""
    subject = present(payload.projects_v2 or payload.project, "project")
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"project:{subject.id}"
    if payload.action in GONE:
        gone = Draft(
            external_id,
            "project",
            revision=revision,
            deleted=True,
            parents=parents_of(payload),
            contents=Contents.REMOVED,
        )
        # Its status updates know it by another name.
        return (gone, replace(gone, external_id=_node(subject.node_id))) if subject.node_id else (gone,)
    text = subject.description or subject.body or subject.short_description
    if not text.strip():
        return NotADocument("a project without a description")
    stated = Statements(payload)
    stated.part_of_repository()
    stated.person(subject.creator, "AUTHORED", THIS)
    stated.mentioned(THIS, text)
    return (
        Draft(
            external_id,
            "project",
            title=subject.title or subject.name,
            text=text,
            authors=authors_of(subject.creator),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            url=subject.html_url,
            metadata=place(payload),
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents_of(payload),
        ),
    )


def status_update(payload: Payload) -> Drafts:
    """Map event `projects_v2_status_update`."""
    subject = present(payload.projects_v2_status_update, "projects_v2_status_update")
    revision = revised(subject.updated_at, subject.created_at)
    external_id = f"project_status:{subject.id}"
    if payload.action in GONE:
        return (Draft(external_id, "project_status", revision=revision, deleted=True),)
    if not subject.body.strip():
        return NotADocument("a project status without a text")
    stated = Statements(payload)
    stated.person(subject.creator, "AUTHORED", THIS)
    stated.mentioned(THIS, subject.body)
    return (
        Draft(
            external_id,
            "project_status",
            title="Project status",
            text=subject.body,
            authors=authors_of(subject.creator),
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            metadata={"status": subject.status},
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=(_node(subject.project_node_id),) if subject.project_node_id else (),
        ),
    )


def _node(node_id: str) -> str:
    return f"project_node:{node_id}"
