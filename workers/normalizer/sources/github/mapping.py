"""GitHub webhooks: from event name and payload to documents."""

from collections.abc import Callable

from pydantic import ValidationError

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.raw import RawEvent
from workers.normalizer.sources.draft import Drafts, NotADocument
from workers.normalizer.sources.github import artefacts, conversations, planning, security
from workers.normalizer.sources.github.payload import Payload
from workers.normalizer.sources.json_body import faults, read_object

EVENT = "x-github-event"

DOCUMENTS: dict[str, Callable[[Payload], Drafts]] = {
    "issues": conversations.issue,
    "pull_request": conversations.pull_request,
    "pull_request_review": conversations.review,
    "pull_request_review_thread": conversations.thread,
    **dict.fromkeys(
        ("issue_comment", "pull_request_review_comment", "commit_comment", "discussion_comment"), conversations.comment
    ),
    "discussion": conversations.discussion,
    "push": artefacts.push,
    "release": artefacts.release,
    "milestone": artefacts.milestone,
    **dict.fromkeys(("package", "registry_package"), artefacts.package),
    "repository": artefacts.repository,
    **dict.fromkeys(("installation", "installation_repositories"), artefacts.installation),
    "gollum": artefacts.wiki,
    "project_card": planning.card,
    **dict.fromkeys(("project", "projects_v2"), planning.project),
    "projects_v2_status_update": planning.status_update,
    **dict.fromkeys(("security_advisory", "repository_advisory"), security.advisory),
    **dict.fromkeys(("dependabot_alert", "code_scanning_alert"), security.alert),
}
"""What the events that carry prose become."""

SILENT = {
    **dict.fromkeys(
        ("check_run", "check_suite", "status", "workflow_run", "workflow_job", "workflow_dispatch", "merge_group"),
        "a machine's report on a commit",
    ),
    **dict.fromkeys(("deployment", "deployment_status", "page_build"), "a report on a deployment"),
    **dict.fromkeys(("create", "delete"), "a branch or tag came or went; its commits come with pushes"),
    **dict.fromkeys(
        ("member", "membership", "organization", "team", "team_add", "org_block", "public"),
        "who may do what, not prose",
    ),
    **dict.fromkeys(
        ("installation_target", "github_app_authorization", "meta"),
        "set-up of an integration",
    ),
    **dict.fromkeys(("star", "watch", "fork", "sponsorship", "marketplace_purchase"), "interest or money, not prose"),
    **dict.fromkeys(
        ("secret_scanning_alert", "secret_scanning_alert_location", "repository_vulnerability_alert"),
        "an alert without an explanation",
    ),
    **dict.fromkeys(
        ("branch_protection_rule", "branch_protection_configuration", "repository_ruleset", "deploy_key"),
        "a protection setting",
    ),
    "label": "labels are kept as entities of the issues that carry them",
    "ping": "a greeting of a new webhook",
    "project_column": "a column has a name and no text",
    "projects_v2_item": "its place in a project; the issue itself comes with its own events",
    "repository_import": "progress of an import",
}
"""Why an event is no document."""


def drafts(raw: RawEvent) -> Drafts:
    """Return what a delivery says. Raises Permanent for one that is not GitHub's."""
    event = raw.attributes.get(EVENT, "")
    if not event:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"attribute {EVENT} is missing: which event is it?")
    body = read_object(raw.body)
    if event not in DOCUMENTS:
        return NotADocument(f"{event}: {SILENT.get(event, 'carries no prose that is known here')}")
    try:
        found = DOCUMENTS[event](Payload.model_validate(body))
    except ValidationError as error:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"{event}: {faults(error)}") from error
    except ValueError as error:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"{event}: {error}"[:500]) from error
    return NotADocument(f"{event}: {found.detail}") if isinstance(found, NotADocument) else found
