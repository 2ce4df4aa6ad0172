from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.documents import DocumentVersion
from tests.unit.workers.normalizer.arrivals import github, only, read, relations, states
from workers.normalizer.decide import State, Verdict, decide
from workers.normalizer.sources.draft import Contents, NotADocument
from workers.normalizer.sources.github.mentions import Person, Reference, mentions

DATA = Path(__file__).parents[4] / "data" / "github-webhooks"
REPOSITORY = "repository:github:Codertocat/Hello-World"
ISSUE = "issue:github:Codertocat/Hello-World#1"


def payload(name: str, **changes: Any) -> dict[str, Any]:
    """Return a committed payload with `part={...}` merged into its parts."""
    body: dict[str, Any] = orjson.loads((DATA / f"{name}.json").read_bytes())
    for part, fields in changes.items():
        body[part] = {**body.get(part, {}), **fields} if isinstance(fields, dict) else fields
    return body


def document(event: str, body: dict[str, Any], offset: int = 7) -> DocumentVersion:
    return only(read(github(event, body), offset))


def said(event: str, body: dict[str, Any], offset: int = 7) -> tuple[State, ...]:
    outcome = states(github(event, body), offset)
    assert isinstance(outcome, tuple), outcome
    return outcome


def detail(event: str, body: dict[str, Any]) -> str:
    outcome = read(github(event, body))
    assert isinstance(outcome, NotADocument)
    return outcome.detail


def test_an_issue_says_who_what_and_where() -> None:
    body = "It breaks, @octocat and @acme/keepers: see #7, hubot/mill#3 and https://github.com/a/b/pull/9."
    issue = document("issues", payload("issues/opened.with-organization.payload", issue={"body": body}))
    assert issue.kind == "issue"
    assert issue.external_id == "issue:444500041"
    assert issue.title == "Spelling error in the README file"
    assert issue.authors[0].handle == "Codertocat"
    assert issue.metadata["labels"] == ("bug",)
    assert issue.metadata["number"] == 1
    assert issue.links == ("https://github.com/a/b/pull/9",)
    stated = relations(issue)
    assert {
        ("this", "DESCRIBES", ISSUE),
        (ISSUE, "PART_OF", REPOSITORY),
        ("person:github:Codertocat", "AUTHORED", ISSUE),
        (ISSUE, "ASSIGNED_TO", "person:github:Codertocat"),
        (ISSUE, "LABELLED", "label:github:Codertocat/Hello-World/bug"),
        (ISSUE, "IN_MILESTONE", "milestone:github:Codertocat/Hello-World/milestone/1"),
        (ISSUE, "MENTIONS", "person:github:octocat"),
        (ISSUE, "MENTIONS", "team:github:acme/keepers"),
        (ISSUE, "MENTIONS", "issue:github:Codertocat/Hello-World#7"),
        (ISSUE, "MENTIONS", "issue:github:hubot/mill#3"),
        (ISSUE, "MENTIONS", "issue:github:a/b#9"),
    } <= stated


def test_a_pull_request_closes_and_merges() -> None:
    body = payload(
        "pull_request/opened.with-organization.payload",
        pull_request={"body": "Fixes #1, closes a/b#2.", "merged_at": "2024-05-01T10:00:00Z",
                      "merged_by": {"login": "hubot"}, "updated_at": "2024-05-01T10:00:00Z"},
    )  # fmt: skip
    stated = relations(document("pull_request", body))
    own = "issue:github:Codertocat/Hello-World#2"
    assert (own, "CLOSES", ISSUE) in stated
    assert (own, "CLOSES", "issue:github:a/b#2") in stated
    assert ("person:github:hubot", "MERGED", own) in stated


def test_comments_know_what_they_are_about() -> None:
    comment = document("issue_comment", payload("issue_comment/created.payload"))
    assert comment.kind == "issue_comment"
    assert comment.text == "You are totally right! I'll get this fixed right away."
    assert ("this", "COMMENTS_ON", ISSUE) in relations(comment)
    on_line = document("pull_request_review_comment", payload("pull_request_review_comment/created.payload"))
    assert on_line.metadata["path"] == "README.md"
    assert on_line.kind == "review_comment"
    on_commit = document("commit_comment", payload("commit_comment/created.on-file.payload"))
    assert any(predicate == "COMMENTS_ON" and "commit:" in target for _, predicate, target in relations(on_commit))


def test_a_resolved_thread_brings_the_same_comments() -> None:
    outcome = read(github("pull_request_review_thread", payload("pull_request_review_thread/resolved.payload")))
    assert isinstance(outcome, tuple)
    single = document("pull_request_review_comment", payload("pull_request_review_comment/created.payload"))
    assert single.document_id in {version.document_id for version in outcome}
    empty = payload("pull_request_review_thread/resolved.payload", thread={"comments": []})
    assert "without comments" in detail("pull_request_review_thread", empty)


def test_reviews_with_and_without_a_text() -> None:
    silent = payload("pull_request_review/dismissed.payload")
    assert "without a text" in detail("pull_request_review", silent)
    spoken = document(
        "pull_request_review", payload("pull_request_review/dismissed.payload", review={"body": "Looks good"})
    )
    assert ("person:github:Codertocat", "REVIEWED", "issue:github:Codertocat/Hello-World#2") in relations(spoken)
    emptied = document("pull_request_review", {**silent, "action": "edited"}, offset=8)
    assert emptied.operation == "delete"
    assert emptied.version > spoken.version
    refilled = document(
        "pull_request_review", payload("pull_request_review/dismissed.payload", review={"body": "Again"}), offset=9
    )
    assert refilled.version > emptied.version, "a review that was emptied may be written again"


def test_an_emptied_comment_goes() -> None:
    gone = document("issue_comment", payload("issue_comment/created.payload", comment={"body": ""}))
    assert gone.operation == "delete"
    assert gone.text == ""


def test_delete_before_create_and_late_updates_stay_deleted() -> None:
    deletion = document("issues", payload("issues/deleted.payload"), offset=1)
    updated_at = payload("issues/deleted.payload")["issue"]["updated_at"]
    late = document("issues", payload("issues/edited.payload", issue={"updated_at": updated_at}), offset=50)
    assert deletion.document_id == late.document_id
    assert deletion.version > late.version


def test_commits_are_the_same_state_on_every_branch() -> None:
    body = payload("push/with-new-branch.payload")
    first = document("push", body, offset=1)
    again = document("push", {**body, "ref": "refs/heads/other"}, offset=9)
    assert (first.document_id, first.version) == (again.document_id, again.version)
    assert first.kind == "commit"
    assert first.text == "Initial commit"
    several = {
        **body,
        "commits": [body["head_commit"], {**body["head_commit"], "id": "f" * 40, "message": "Two\n\nMore"}],
    }
    outcome = read(github("push", several))
    assert isinstance(outcome, tuple)
    assert [version.title for version in outcome] == ["Initial commit", "Two"]
    assert "without commits" in detail("push", {**payload("push/payload"), "deleted": False})
    nameless = {**body, "head_commit": {**body["head_commit"], "author": None, "timestamp": None, "message": ""}}
    assert document("push", {**nameless, "commits": []}).authors == ()


def test_releases() -> None:
    body = payload("release/published.payload", release={"name": "First", "body": "Thanks @octocat"})
    release = document("release", body)
    assert (release.title, release.text) == ("First", "Thanks @octocat")
    assert release.metadata["tag"] == "0.0.1"
    hidden = document("release", {**body, "action": "unpublished"}, offset=8)
    assert hidden.operation == "delete"
    assert document("release", {**body, "action": "deleted"}).version > document("release", body, offset=9).version


@pytest.mark.parametrize(
    ("event", "name", "before", "after"),
    [
        # What is taken back has no date of publication, and was created before.
        ("release", "release/published.payload", {}, {"action": "unpublished", "release": {"published_at": None}}),
        ("release", "release/published.payload", {}, {"action": "deleted", "release": {"published_at": None}}),
        ("code_scanning_alert", "code_scanning_alert/closed-by-user.payload", {},
         {"action": "reopened_by_user", "alert": {"dismissed_at": None, "state": "open"}}),
        ("code_scanning_alert", "code_scanning_alert/closed-by-user.payload",
         {"alert": {"dismissed_at": None, "fixed_at": "2021-02-11T02:59:08Z"}},
         {"action": "appeared_in_branch", "alert": {"dismissed_at": None, "fixed_at": None, "state": "open"}}),
        # An issue that is deleted with an older date than its last state had.
        ("issues", "issues/edited.payload", {}, {"action": "deleted",
             "issue": {"updated_at": "2019-05-15T15:20:10Z", "created_at": "2019-05-15T15:20:10Z"}}),
    ],
)  # fmt: skip
def test_a_change_that_empties_its_own_date_is_newer_than_what_arrived_before_it(
    event: str, name: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    (first,) = said(event, payload(name, **before))
    (second,) = said(event, payload(name, **after), offset=8)
    assert second.version.version < first.version.version, "by its own date it is older"
    held = decide(first, (0, 7), None).held
    late = decide(second, (0, 8), held)
    assert late.verdict is Verdict.PUBLISH
    assert late.version > held.version or second.deleted
    assert decide(first, (0, 7), late.held).verdict is Verdict.SUPERSEDED, "a replay ends the same"
    again = payload(name, **before)
    key = next(key for key in ("release", "alert", "issue") if key in again)
    again[key] |= {"published_at": "2031-01-01T00:00:00Z", "dismissed_at": "2031-01-01T00:00:00Z"}
    (third,) = said(event, again, offset=9)
    if event != "issues":
        assert decide(third, (0, 9), late.held).verdict is Verdict.PUBLISH


@pytest.mark.parametrize(
    ("event", "name", "parents"),
    [
        ("issues", "issues/edited.payload", ["repository:186853002"]),
        ("issue_comment", "issue_comment/created.payload", ["repository:186853002", "issue:444500041"]),
        ("pull_request_review_comment", "pull_request_review_comment/created.payload",
         ["repository:186853002", "pull_request:279147437"]),
        ("pull_request_review_thread", "pull_request_review_thread/resolved.payload",
         ["repository:186853002", "pull_request:279147437"]),
        ("discussion", "discussion/created.payload", ["repository:"]),
        ("discussion_comment", "discussion_comment/created.payload", ["repository:", "discussion:"]),
        ("commit_comment", "commit_comment/created.on-file.payload", ["repository:", "commit:"]),
        ("push", "push/with-new-branch.payload", ["repository:"]),
        ("release", "release/published.payload", ["repository:"]),
        ("release", "release/created.with-installation.payload", ["repository_access:", "repository:"]),
        ("milestone", "milestone/deleted.payload", ["repository:"]),
        ("package", "package/published.npm.payload", ["repository:"]),
        ("project_card", "project_card/created.payload", ["repository:", "project:2640902"]),
        ("dependabot_alert", "dependabot_alert/fixed.payload", ["repository:"]),
    ],
)  # fmt: skip
def test_what_a_document_stands_in(event: str, name: str, parents: list[str]) -> None:
    for state in said(event, payload(name)):
        told = [each for each in state.version.parents if "_access" in parents[0] or "_access" not in each]
        assert len(told) == len(parents), told
        assert all(one.startswith(other) for one, other in zip(told, parents, strict=True)), told


@pytest.mark.parametrize(
    ("event", "name", "fields", "contents"),
    [
        ("issues", "issues/deleted.payload", {}, Contents.REMOVED),
        ("issues", "issues/transferred.payload", {}, Contents.REMOVED),
        ("discussion", "discussion/transferred.payload", {}, Contents.REMOVED),
        ("discussion", "discussion/created.payload", {"action": "deleted"}, Contents.REMOVED),
        ("repository", "repository/created.payload", {"action": "deleted"}, Contents.REMOVED),
        ("repository", "repository/privatized.payload", {}, Contents.REMOVED_UP_TO_NOW),
        ("repository", "repository/publicized.payload", {}, Contents.OPEN),
        ("repository", "repository/created.payload", {}, Contents.OPEN),
        ("installation_repositories", "installation_repositories/added.payload", {}, Contents.OPEN),
        ("installation", "installation/new_permissions_accepted.payload", {"action": "deleted"}, Contents.REMOVED),
        ("installation", "installation/new_permissions_accepted.payload", {"action": "suspend"}, Contents.REMOVED),
        ("installation", "installation/new_permissions_accepted.payload", {"action": "unsuspend"}, Contents.OPEN),
    ],
)
def test_what_becomes_of_what_stands_in_it(event: str, name: str, fields: dict[str, Any], contents: Contents) -> None:
    (state,) = said(event, {**payload(name), **fields})
    assert (state.deleted, state.contents) == (True, contents)


def test_a_repository_that_an_app_loses() -> None:
    told = payload("installation_repositories/added.payload")
    lost = {**told, "action": "removed", "repositories_added": [], "repositories_removed": told["repositories_added"]}
    (state,) = said("installation_repositories", lost)
    assert state.version.external_id == "repository_access:186853007"
    assert state.contents is Contents.REMOVED


def test_repositories_speak_by_their_description() -> None:
    told = payload("repository/renamed.payload", repository={"description": "Grinds flour", "topics": ["mill"],
                                                      "homepage": "https://mill.example"})  # fmt: skip
    repository = document("repository", told)
    assert repository.text == "Grinds flour"
    assert repository.links == ("https://mill.example",)
    assert any(predicate == "TAGGED" for _, predicate, _ in relations(repository))
    assert document("repository", {**told, "action": "deleted"}).operation == "delete"
    emptied = payload("repository/renamed.payload", repository={"description": None}, action="edited")
    assert document("repository", emptied).operation == "delete"
    assert "without a description" in detail(
        "repository", payload("repository/renamed.payload", repository={"description": ""})
    )


def test_wiki_changes_with_a_summary() -> None:
    body = payload("gollum/with-installation.payload")
    assert "not in the payload" in detail("gollum", body)
    body["pages"][0]["summary"] = "Explains the sluice"
    page = document("gollum", body)
    assert page.text == "Explains the sluice"
    assert ("person:github:rachmari", "EDITED", "this") in relations(page)


def test_milestones_and_packages() -> None:
    milestone = document("milestone", {**payload("milestone/deleted.payload"), "action": "edited"})
    assert milestone.text == "Add new space flight simulator"
    assert milestone.metadata["due_on"] == "2019-05-23T07:00:00+00:00"
    package = document("package", payload("package/published.npm.payload"))
    assert package.title == "hello-world-npm 1.0.0"
    silent = payload("package/published.npm.payload", package={"package_version": None})
    assert "without notes" in detail("package", silent)
    container = payload("package/published.npm.payload")
    container["package"]["package_version"] |= {"body": {"info": {}}, "description": "", "summary": ""}
    assert "without notes" in detail("package", container)


def test_advisories() -> None:
    body = payload("security_advisory/updated.payload")
    advisory = document("security_advisory", body)
    assert advisory.metadata["cve"] == "CVE-2019-5438"
    assert ("advisory:github:GHSA-6fmm-47qc-p4m4", "AFFECTS", "package:npm:harp") in relations(advisory)
    assert document("security_advisory", {**body, "action": "withdrawn"}).operation == "delete"


def test_alerts_explain_themselves_or_are_none() -> None:
    repository = payload("repository/renamed.payload")["repository"]
    told = {"ghsa_id": "GHSA-1", "summary": "Leak", "description": "It leaks", "references": [{"url": "https://a.b"}]}
    alert = {"number": 4, "state": "open", "created_at": "2024-05-01T10:00:00Z", "security_advisory": told}
    found = document("dependabot_alert", {"alert": alert, "repository": repository})
    assert (found.title, found.text, found.links) == ("Leak", "It leaks", ("https://a.b",))
    rule = {"id": "r", "description": "Query from user input", "help": "Use parameters"}
    scanned = {"number": 5, "state": "open", "created_at": "2024-05-01T10:00:00Z", "rule": rule}
    assert document("code_scanning_alert", {"alert": scanned, "repository": repository}).text == "Use parameters"
    assert "explanation" in detail("code_scanning_alert", {"alert": {"number": 6}, "repository": repository})


def test_projects_cards_and_status_updates() -> None:
    card: dict[str, Any] = {"id": 9, "note": "Oil the @hubot", "updated_at": "2024-05-01T10:00:00Z"}
    assert document("project_card", {"action": "created", "project_card": card}).text == "Oil the @hubot"
    for action, operation in (("deleted", "delete"), ("converted", "delete")):
        gone = {"action": action, "project_card": {**card, "note": None}}
        assert document("project_card", gone).operation == operation
    assert "without a note" in detail("project_card", {"action": "moved", "project_card": {**card, "note": None}})
    project = {"id": 3, "title": "Season", "description": "Everything for spring", "updated_at": "2024-05-01T10:00:00Z"}
    assert document("projects_v2", {"action": "edited", "projects_v2": project}).title == "Season"
    assert document("projects_v2", {"action": "deleted", "projects_v2": project}).operation == "delete"
    assert "without a description" in detail("project", {"action": "created", "project": {"id": 3, "name": "x"}})
    status = {"id": 5, "body": "On track", "status": "ON_TRACK", "updated_at": "2024-05-01T10:00:00Z"}
    update = {"action": "created", "projects_v2_status_update": status}
    assert document("projects_v2_status_update", update).text == "On track"
    assert document("projects_v2_status_update", {**update, "action": "deleted"}).operation == "delete"
    silent = {"action": "created", "projects_v2_status_update": {**status, "body": None}}
    assert "without a text" in detail("projects_v2_status_update", silent)


def test_discussions_come_and_go() -> None:
    body = payload("discussion/created.payload")
    discussion = document("discussion", body)
    assert ("this", "DESCRIBES", "discussion:github:Codertocat/Hello-World#4") in relations(discussion)
    assert document("discussion", {**body, "action": "transferred"}).operation == "delete"


def test_deleted_accounts_and_unknown_events() -> None:
    ghost = document("issues", payload("issues/opened.with-organization.payload", issue={"user": None}))
    assert ghost.authors == ()
    assert "carries no prose" in detail("brand_new_event", {})


@pytest.mark.parametrize(
    ("event", "body", "reason"),
    [
        ("issues", b"{ not json", Reason.INVALID_JSON),
        ("issues", b"\xff\xfe", Reason.INVALID_JSON),
        ("issues", b"[]", Reason.SCHEMA_VIOLATION),
        ("issues", b"{}", Reason.SCHEMA_VIOLATION),
        ("issues", b'{"issue": {"id": "x"}}', Reason.SCHEMA_VIOLATION),
        ("ping", b"", Reason.INVALID_JSON),
        ("", b"{}", Reason.SCHEMA_VIOLATION),
    ],
)
def test_bad_deliveries(event: str, body: bytes, reason: Reason) -> None:
    with pytest.raises(Permanent) as caught:
        read(github(event, body))
    assert caught.value.reason is reason
    assert "not json" not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@octocat", [Person("octocat")]),
        ("(@a-b), @c.", [Person("a-b"), Person("c")]),
        ("mail me@example.com or npm i @types/node@1.0", []),
        ("`@code` and ```\n@block #4\n```", []),
        ("~~~\n#5\n~~~", []),
        ("@acme/keepers", [Person("acme", "keepers")]),
        ("#12", [Reference("", 12)]),
        ("GH-7", [Reference("", 7)]),
        ("a/b#3 https://github.com/a/b/discussions/4", [Reference("a/b", 3), Reference("a/b", 4, discussion=True)]),
        ("Resolves: #5", [Reference("", 5, closes=True)]),
        ("fixed https://github.com/a/b/issues/6", [Reference("a/b", 6, closes=True)]),
        ("colour #fff &#39; x#y page.html#7", []),
    ],
)
def test_mentions(text: str, found: list[Person | Reference]) -> None:
    assert list(mentions(text)) == found
