import pytest
from pydantic import ValidationError

from infra.settings import (
    KafkaSettings,
    Neo4jSettings,
    PostgresSettings,
    RedisSettings,
    SecretsSettings,
    Settings,
    SettingsError,
    load,
)

WEAK = {
    "POSTGRES_DSN": (PostgresSettings, "postgresql://millrace:postgres@db/millrace"),
    "NEO4J_PASSWORD": (Neo4jSettings, "neo4j"),
    "REDIS_URL": (RedisSettings, "redis://:password@cache/0"),
    "MILLRACE_SECRET_KEY": (SecretsSettings, "changeme"),
}


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS"):
        load(KafkaSettings)


def test_brokers_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2,")
    assert load(KafkaSettings).bootstrap == ("a:1", "b:2")


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "a:1")
    with pytest.raises(ValidationError, match="frozen"):
        load(KafkaSettings).replication_factor = 3


@pytest.mark.parametrize("variable", WEAK)
def test_production_refuses_a_secret_that_everybody_knows(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: type[Settings]
    settings, value = WEAK[variable]
    monkeypatch.setenv("NEO4J_URI", "bolt://graph:7687")
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MILLRACE_MODE", "development")
    load(settings)
    monkeypatch.setenv("MILLRACE_MODE", "production")
    with pytest.raises(SettingsError, match=variable) as refused:
        load(settings)
    assert value not in str(refused.value)


def test_production_accepts_a_cache_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MODE", "production")
    monkeypatch.setenv("REDIS_URL", "redis://cache/0")
    assert load(RedisSettings).secret_values() == {}
