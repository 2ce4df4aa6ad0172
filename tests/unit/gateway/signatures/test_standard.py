"""Standard Webhooks, signed by the specification's own library."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from gateway.problems import Code
from gateway.signatures import standard

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(b"an older secret, 24 bytes").decode()
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#verifying-webhook-authenticity
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
PUBLISHED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def signed(
    body: bytes = BODY, secret: str = SECRET, message: str = MESSAGE, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
) -> dict[str, str]:
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, at, body.decode()),
    }


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_published_example_is_accepted() -> None:
    headers = {"webhook-id": MESSAGE, "webhook-timestamp": "1614265330", "webhook-signature": PUBLISHED}
    assert standard.check(headers, BODY, [SECRET], datetime.fromtimestamp(1614265330, UTC)) is None


def test_every_secret_of_the_source_and_every_signature_of_the_sender_counts() -> None:
    old, new = signed(secret=OLD_SECRET), signed()
    both = new | {"webhook-signature": f"v1a,xyz {old['webhook-signature']} {new['webhook-signature']}"}
    assert standard.check(both, BODY, [SECRET], NOW) is None
    assert standard.check(both, BODY, [OLD_SECRET], NOW) is None
    assert standard.check(old, BODY, [SECRET, OLD_SECRET], NOW) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": "1767225601"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,!!!!"},
        {"webhook-signature": "v1,\xe9\xe9"},
        {"webhook-signature": "v2," + "A" * 44},
        {"webhook-signature": "nonsense"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 40},
        {"webhook-timestamp": "²"},
    ],
)
def test_anything_changed_is_refused(changed: dict[str, str]) -> None:
    assert standard.check(signed() | changed, BODY, [SECRET], NOW) is Code.INVALID_SIGNATURE


def test_a_changed_body_is_refused() -> None:
    assert standard.check(signed(), BODY + b"\n", [SECRET], NOW) is Code.INVALID_SIGNATURE


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(name: str) -> None:
    assert standard.check(signed() | {name: ""}, BODY, [SECRET], NOW) is Code.MISSING_SIGNATURE


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_time_over_five_minutes_off_is_stale(seconds: int) -> None:
    headers = signed(at=NOW + timedelta(seconds=seconds))
    assert standard.check(headers, BODY, [SECRET], NOW) is Code.STALE_TIMESTAMP


@pytest.mark.parametrize("seconds", [-299, 299])
def test_a_time_within_five_minutes_is_good(seconds: int) -> None:
    assert standard.check(signed(at=NOW + timedelta(seconds=seconds)), BODY, [SECRET], NOW) is None


def test_only_the_sender_learns_that_its_clock_is_off() -> None:
    headers = signed(secret=OLD_SECRET, at=NOW - timedelta(hours=1))
    assert standard.check(headers, BODY, [SECRET], NOW) is Code.INVALID_SIGNATURE


def test_a_body_that_is_not_utf8_can_be_signed() -> None:
    import hashlib
    import hmac

    body = b"\xff\xfe\x00"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    stamp = str(int(NOW.timestamp()))
    digest = hmac.new(key, f"m.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    assert standard.check(headers, body, [SECRET], NOW) is None


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        (b'{"specversion": "1.0", "id": "e1", "subject": "doc-7", "data": {"id": "x"}}', "doc-7"),
        (b'{"specversion": "1.0", "id": "e1", "data": {"id": "x"}}', "x"),
        (b'{"external_id": "a", "id": "b"}', "a"),
        (b'{"id": 42}', "42"),
        (b'{"id": true}', ""),
        (b'{"id": {"a": 1}}', ""),
        (b"nothing", ""),
    ],
)
def test_the_subject_is_what_the_event_is_about(body: bytes, subject: str) -> None:
    assert standard.describe({"webhook-id": "m"}, body).subject == subject


def test_binary_mode_keeps_the_cloud_event_headers_and_no_others() -> None:
    headers = {"webhook-id": "m", "ce-subject": "doc-7", "ce-type": "t", "authorization": "Bearer s", "cookie": "c"}
    arrival = standard.describe(headers, b"text")
    assert arrival.subject == "doc-7"
    assert arrival.attributes == {"ce-subject": "doc-7", "ce-type": "t"}
