"""What must never stand in a log."""

from typing import Any

import pytest

from infra.telemetry.redaction import HIDDEN, redact, redact_text


@pytest.mark.parametrize(
    "name",
    ["password", "POSTGRES_PASSWORD", "passwd", "secret", "webhook_secret", "authorization", "Authorization", "api_key",
     "api-key", "apikey", "x-api-key", "token", "access_token", "cookie", "x-hub-signature-256", "signature", "dsn",
     "private_key", "credentials"],
)  # fmt: skip
def test_a_value_under_a_secrets_name_is_hidden(name: str) -> None:
    assert redact({name: "hunter2"}) == {name: HIDDEN}
    assert redact({name: b"hunter2"}) == {name: HIDDEN}
    assert redact({name: ["hunter2"]}) == {name: [HIDDEN]}


@pytest.mark.parametrize("name", ["event", "tokens", "token_count", "keys", "path", "passages", "designated"])
def test_a_value_under_another_name_stays(name: str) -> None:
    assert redact({name: "hunter2"}) == {name: "hunter2"}


@pytest.mark.parametrize("value", [None, True, 3, 0.5])
def test_numbers_stay_under_any_name(value: Any) -> None:
    assert redact({"token": value}) == {"token": value}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://millrace:s3cret@127.0.0.1:5432/m", "postgresql://millrace:[redacted]@127.0.0.1:5432/m"),
        ("redis://:s3cret@localhost:6379/0 is down", "redis://:[redacted]@localhost:6379/0 is down"),
        ("https://user:s3cret@feed.example/rss?a=b", "https://user:[redacted]@feed.example/rss?a=b"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer [redacted]"),
        ("basic dXNlcjpwYXNzd29yZA==", "basic [redacted]"),
        ("mr_1f2e3d4c5b6a_" + "0" * 64, "mr_1f2e3d4c5b6a_[redacted]"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
    ],
)
def test_a_text_that_looks_like_a_secret_is_hidden(text: str, hidden: str) -> None:
    assert redact_text(text) == hidden
    assert redact({"event": text, "more": [{"deep": text}]}) == {"event": hidden, "more": [{"deep": hidden}]}


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8080/v1", "a bearer of news", "mr_1f2e3d4c5b6a_…", "at 10:30 user@example.org", "basic"]
)
def test_other_texts_stay(text: str) -> None:
    assert redact_text(text) == text


def test_bytes_are_counted_and_objects_are_shown_as_text() -> None:
    assert redact({"body": b"12345", "error": ValueError("redis://:x@h")}) == {
        "body": "5 bytes",
        "error": "redis://:[redacted]@h",
    }
