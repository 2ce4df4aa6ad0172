from pathlib import Path

import pytest

from tests.unit.workers.inference.servers import defined
from workers.inference.routing import LARGEST_BYTES, PACKAGED, RoutingError, Target, keys, parse, read


def test_the_packaged_file_sends_everything_to_the_default_backend() -> None:
    routing = parse(read(PACKAGED))
    assert routing.route("acme", "code") is None
    assert not routing.tells_apart("acme")


def test_an_empty_file_is_the_default() -> None:
    assert parse(b"") == parse(b"version: 1\n")


def test_targets_are_a_backend_and_whatever_stands_after_the_first_colon() -> None:
    routing = parse(defined(b"routes:\n  code: {to: coder, fallbacks: ['coder:qwen2.5:7b']}\n  general: coder:lora\n"))
    code, general = routing.route("acme", "code"), routing.route("acme", "general")
    assert code is not None
    assert general is not None
    assert code.targets == (Target(backend="coder"), Target(backend="coder", model="qwen2.5:7b"))
    assert (general.to, general.fallbacks) == (Target(backend="coder", model="lora"), None)


def test_a_workspace_overrides_single_intents() -> None:
    routing = parse(defined(b"routes: {code: coder, general: coder}\nworkspaces: {acme: {code: 'coder:own'}}\n"))
    assert str(routing.route("acme", "code").to) == "coder:own"  # type: ignore[union-attr]
    assert str(routing.route("other", "code").to) == "coder"  # type: ignore[union-attr]
    assert str(routing.route("acme", "general").to) == "coder"  # type: ignore[union-attr]
    assert parse(defined(b"workspaces: {acme: {code: coder}}\n")).tells_apart("acme")
    assert not parse(defined(b"workspaces: {acme: {code: coder}}\n")).tells_apart("other")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"routes: {poetry: coder}", "routes.poetry"),
        (b"routes: {code: ''}", "write `backend` or `backend:model`"),
        (b"routes: {code: 'coder:'}", "write `backend` or `backend:model`"),
        (b"backends: {coder: {url: http://a, concurrency: 0}}", "backends.coder.concurrency"),
        (b"backends: {coder: {url: http://a, api_key: sk-123}}", "backends.coder.api_key"),
        (b"backends: {coder: {url: http://a, api_key_env: sk-123}}", "backends.coder.api_key_env"),
        (b"backends: {coder: {url: 'coder:8000'}}", "backends.coder.url"),
        (b"backends: {coder: {url: 'http://me:sk-123@coder'}}", "backends.coder.url"),
        (b"backends: {Coder: {url: http://a}}", "backends.Coder"),
        (b"backends: {cache: {url: http://a}}", "a meaning of its own"),
        (b"backends: {extractive: {url: http://a}}", "a meaning of its own"),
        (b"confidence: 2", "confidence"),
        (b"version: 2", "version"),
        (b"routes: {}\nroutes: {}", "line 2: 'routes' stands here twice"),
        (b"routes: [", "line 1"),
        (b"- a", "valid dictionary"),
        (b"\xff\xfe\xff", "no YAML"),
        (b"!!python/object:os.system x", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(content: bytes, said: str) -> None:
    with pytest.raises(RoutingError) as raised:
        parse(content)
    assert said in str(raised.value)
    assert "sk-123" not in str(raised.value)


def test_routes_to_nobody_are_refused_all_at_once() -> None:
    routing = parse(b"backends: {far: {}}\nroutes: {code: nobody}\nworkspaces: {acme: {general: {to: other}}}")
    with pytest.raises(RoutingError) as raised:
        routing.check({"openai": object()})
    for place in ("backends.far", "routes.code", "workspaces.acme.general"):
        assert place in str(raised.value)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    routing = parse(b"backends: {coder: {url: http://a, api_key_env: CODER_KEY}, free: {url: http://b}}")
    with pytest.raises(RoutingError, match=r"backends\.coder\.api_key_env: the variable CODER_KEY is not set"):
        keys(routing)
    monkeypatch.setenv("CODER_KEY", "sk-123")
    found = keys(routing)
    assert found["free"] is None
    assert found["coder"] is not None
    assert found["coder"].get_secret_value() == "sk-123"
    assert "sk-123" not in repr(found)


def test_a_file_that_is_away_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RoutingError, match="No such file"):
        read(tmp_path / "routing.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST_BYTES + 1))
    with pytest.raises(RoutingError, match="more than"):
        read(tmp_path / "large.yaml")
