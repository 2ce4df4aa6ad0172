"""What stops a start, and how the process says so."""

import subprocess
import sys

import pytest

from gateway.settings import Environment
from infra.postgres.sources import SecretBox
from infra.settings import SettingsError

GOOD = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "POSTGRES_DSN": "postgresql://app:0f9a8b7c@127.0.0.1/millrace",
    "OBJECT_STORE_URL": "file:///nowhere",
    "MILLRACE_SECRET_KEY": "A" * 43 + "=",
    "NEO4J_URI": "bolt://127.0.0.1:7687",
    "NEO4J_PASSWORD": "0f9a8b7c",
    "QDRANT_URL": "http://127.0.0.1:6333",
    "REDIS_URL": "redis://:0f9a8b7c@127.0.0.1:6379/0",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MILLRACE_MODE", raising=False)


def test_all_that_is_needed_is_read() -> None:
    assert Environment.read().gateway.max_upload_bytes == 32 * 1024 * 1024


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=name):
        Environment.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_DSN", "postgresql://app:postgres@h/d"),
        ("POSTGRES_DSN", "postgresql://app@h/d"),
        ("NEO4J_PASSWORD", "neo4j"),
        ("REDIS_URL", "redis://:secret@h/0"),
        ("MILLRACE_SECRET_KEY", "changeme"),
    ],
)
def test_production_refuses_a_secret_that_everybody_knows(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    Environment.read()
    monkeypatch.setenv("MILLRACE_MODE", "production")
    with pytest.raises(SettingsError, match=name):
        Environment.read()


def test_production_starts_with_good_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MODE", "production")
    Environment.read()


@pytest.mark.parametrize("key", ["", " , ", "short", "A" * 44])
def test_a_key_that_cannot_encrypt_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_SECRET_KEY") as error:
        SecretBox(key)
    assert not key.strip(" ,") or key not in str(error.value)


def test_the_process_says_what_is_wrong_and_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_GATEWAY_PORT", "high")
    done = subprocess.run([sys.executable, "-m", "gateway"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "MILLRACE_GATEWAY_PORT" in done.stderr
    assert "Traceback" not in done.stderr
