import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.record import ProcessRecord, StackRecord, State
from infra.local.state import ADDRESSES, Home, Secrets, environment, outside, write_private


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture(autouse=True)
def _no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in ADDRESSES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MILLRACE_SECRET_KEY", raising=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def started(home: Home, **ports: int) -> Secrets:
    """Leave what a start leaves."""
    StackRecord(ports=ports).write(home.record)
    return Secrets.ensure(home)


def test_secrets_are_made_once_and_for_nobody_else(home: Home) -> None:
    first = Secrets.ensure(home)
    assert Secrets.ensure(home) == first
    assert mode(home.secrets) == 0o600
    assert len({first.postgres, first.neo4j, first.valkey, first.door, first.llm}) == 5
    assert len(base64.urlsafe_b64decode(first.secret_key)) == 32


def test_a_folder_of_before_gets_a_key_for_the_model_server(home: Home) -> None:
    first = Secrets.ensure(home)
    held = json.loads(home.secrets.read_text())
    del held["llm"]
    home.secrets.write_text(json.dumps(held))
    second = Secrets.ensure(home)
    assert second.llm
    assert second == replace(first, llm=second.llm) == Secrets.ensure(home)
    assert mode(home.secrets) == 0o600


def test_secrets_do_not_show_themselves(home: Home) -> None:
    secrets = Secrets.ensure(home)
    assert secrets.postgres not in repr(secrets)
    assert secrets.postgres not in f"{secrets}"


def test_folders_with_content_are_closed_to_others(home: Home) -> None:
    assert mode(home.objects) == mode(home.run) == mode(home.log("x").parent) == 0o700


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_before_the_first_start_there_is_only_the_folder(home: Home) -> None:
    assert environment(home) == {"MILLRACE_HOME": str(home.root)}


def test_addresses_carry_ports_and_secrets(home: Home) -> None:
    secrets = started(home, kafka=1, postgres=2, neo4j=3, valkey=4, door=5, gateway=6)
    found = environment(home)
    assert found["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:1"
    assert found["POSTGRES_DSN"] == f"postgresql://millrace:{secrets.postgres}@127.0.0.1:2/millrace"
    assert found["NEO4J_URI"] == "bolt://127.0.0.1:3"
    assert found["REDIS_URL"] == f"redis://:{secrets.valkey}@127.0.0.1:4/0"
    assert (found["QDRANT_URL"], found["QDRANT_API_KEY"]) == ("http://127.0.0.1:5", secrets.door)
    assert found["MILLRACE_GATEWAY_URL"] == "http://127.0.0.1:6"
    assert found["OBJECT_STORE_URL"] == home.objects.as_uri()


def test_the_real_environment_wins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    started(home, kafka=1, valkey=4)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092")
    found = environment(home)
    assert found["KAFKA_BOOTSTRAP_SERVERS"] == "elsewhere:9092"
    assert found["REDIS_URL"].endswith("@127.0.0.1:4/0")


def test_an_outside_server_is_never_sent_our_own_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    started(home, door=5, neo4j=3)
    monkeypatch.setenv("QDRANT_URL", "http://elsewhere:6333")
    monkeypatch.setenv("NEO4J_URI", "bolt://elsewhere:7687")
    found = environment(home)
    assert "QDRANT_API_KEY" not in found
    assert "NEO4J_PASSWORD" not in found


def test_what_the_start_found_outside_holds_for_later_commands(home: Home) -> None:
    given = {"QDRANT_URL": "http://elsewhere:6333", "QDRANT_API_KEY": "theirs", "PATH": "/bin"}
    Secrets.ensure(home)
    StackRecord(ports={"door": 5}, outside=outside(given)).write(home.record)
    found = environment(home)
    assert (found["QDRANT_URL"], found["QDRANT_API_KEY"]) == ("http://elsewhere:6333", "theirs")
    assert "PATH" not in found


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = StackRecord(state=State.READY, ports={"kafka": 1})
    record.processes["kafka"] = ProcessRecord("kafka", State.READY, pid=7, started=1.5, program="java")
    record.write(tmp_path / "stack.json")
    assert StackRecord.read(tmp_path / "stack.json") == record
    assert mode(tmp_path / "stack.json") == 0o600


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    StackRecord().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(ValueError, match="another version"):
        StackRecord.read(path)


def test_a_field_that_this_version_does_not_know_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    StackRecord(ports={"kafka": 1}).write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": True}))
    found = StackRecord.read(path)
    assert found is not None
    assert found.ports == {"kafka": 1}


def test_the_home_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    assert Home.find().root == tmp_path / ".millrace"
    monkeypatch.setenv("MILLRACE_HOME", "elsewhere")
    assert Home.find().root == tmp_path / "elsewhere"
    assert Home.find(Path("given")).root == tmp_path / "given"


def test_two_homes_have_two_tags(tmp_path: Path) -> None:
    assert Home(tmp_path / "a").tag != Home(tmp_path / "b").tag
