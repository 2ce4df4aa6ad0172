"""GitHub's own test vector, and what a delivery says about itself."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.problems import Code, Problem
from gateway.signatures import github

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
SECRET = "It's a Secret to Everybody"
PAYLOAD = b"Hello, World!"
SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_the_published_vector_is_accepted() -> None:
    assert github.check({"x-hub-signature-256": SIGNATURE}, PAYLOAD, [SECRET], NOW) is None


def test_any_valid_secret_will_do_during_a_rotation() -> None:
    assert github.check({"x-hub-signature-256": SIGNATURE}, PAYLOAD, ["a newer one", SECRET], NOW) is None


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ("", Code.MISSING_SIGNATURE),
        (SIGNATURE[:-1] + "8", Code.INVALID_SIGNATURE),
        (SIGNATURE.removeprefix("sha256="), Code.INVALID_SIGNATURE),
        ("sha1=" + hmac.new(SECRET.encode(), PAYLOAD, hashlib.sha1).hexdigest(), Code.INVALID_SIGNATURE),
        ("sha256=", Code.INVALID_SIGNATURE),
        ("sha256=\xe9", Code.INVALID_SIGNATURE),
    ],
)
def test_a_bad_signature_is_refused(signature: str, code: Code) -> None:
    assert github.check({"x-hub-signature-256": signature}, PAYLOAD, [SECRET], NOW) is code


def test_a_changed_body_is_refused() -> None:
    assert github.check({"x-hub-signature-256": SIGNATURE}, PAYLOAD + b" ", [SECRET], NOW) is Code.INVALID_SIGNATURE


def test_a_source_without_secrets_trusts_nobody() -> None:
    empty = "sha256=" + hmac.new(b"", PAYLOAD, hashlib.sha256).hexdigest()
    assert github.check({"x-hub-signature-256": empty}, PAYLOAD, [], NOW) is Code.INVALID_SIGNATURE


def headers(event: str = "issues", delivery: str = "72d3162e") -> dict[str, str]:
    return {"x-github-event": event, "x-github-delivery": delivery}


def test_an_edited_comment_has_the_subject_of_the_comment_it_edits() -> None:
    def body(action: str) -> bytes:
        return json.dumps(
            {"action": action, "issue": {"id": 7}, "comment": {"id": 9}, "repository": {"id": 5}}
        ).encode()

    created = github.describe(headers("issue_comment", "d1"), body("created"))
    edited = github.describe(headers("issue_comment", "d2"), body("edited"))
    assert created.subject == edited.subject == "5/comment/9"
    assert (created.delivery, edited.delivery) == ("d1", "d2")
    assert created.attributes == {"x-github-event": "issue_comment"}


@pytest.mark.parametrize("missing", ["x-github-event", "x-github-delivery"])
def test_headers_that_identify_the_delivery_are_needed(missing: str) -> None:
    given = headers() | {missing: ""}
    with pytest.raises(Problem) as problem:
        github.describe(given, b"{}")
    assert problem.value.code is Code.INVALID_HEADER
    assert missing in problem.value.detail


@pytest.mark.parametrize("delivery", ["x" * 501, "a\x1fb"])
def test_a_delivery_id_that_no_event_id_can_be_made_of_is_refused(delivery: str) -> None:
    with pytest.raises(Problem):
        github.describe(headers(delivery=delivery), b"{}")


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"null", b'{"issue": 3, "repository": []}', b"\xff\xfe"])
def test_a_body_that_says_nothing_has_no_subject(body: bytes) -> None:
    assert github.describe(headers(), body).subject == ""


def test_every_real_payload_can_be_described(sample_data: Path) -> None:
    payloads = sorted((sample_data / "github-webhooks").glob("*/*.json"))
    assert payloads
    for path in payloads:
        arrival = github.describe(headers(path.parent.name, path.name), path.read_bytes())
        assert arrival.delivery == path.name
        assert len(arrival.subject) < 200
