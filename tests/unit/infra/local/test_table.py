import socket
from pathlib import Path

import pytest

from infra.local import ports, table
from infra.local.program import Site, StartError
from infra.local.record import StackRecord
from infra.local.servers import java
from infra.local.state import Home, Secrets
from infra.local.table import NAMES, NEEDS, OWN, SERVERS, chosen, units


@pytest.fixture
def site(tmp_path: Path) -> Site:
    home = Home(tmp_path / "home")
    home.create()
    return Site(home, Secrets.ensure(home), StackRecord(), tmp_path / "cache")


def test_everything_is_chosen_by_default() -> None:
    assert chosen(None, workers=True) == NAMES
    assert set(NAMES) - set(chosen(None, workers=False)) == set(OWN)


def test_what_is_chosen_brings_what_it_needs_and_its_own_step() -> None:
    assert chosen({"postgres"}, workers=True) == ("postgres", "schema")
    assert chosen({"kafka", "valkey"}, workers=True) == ("kafka", "valkey", "topics")
    assert set(chosen({"gateway"}, workers=True)) == {"gateway", "kafka", "topics", "postgres", "schema", "valkey"}
    assert chosen(set(), workers=True) == ()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown: kafak; there are kafka, postgres"):
        chosen({"kafak"}, workers=True)


def test_the_table_is_complete_and_stops_the_log_last(site: Site) -> None:
    made = units(site)
    assert tuple(made) == NAMES
    assert all(set(unit.needs) <= set(NAMES) for unit in made.values())
    order = sorted((unit for unit in made.values() if unit.program), key=lambda unit: unit.stops)
    assert order[0].name == "gateway"
    assert order[-1].name == "kafka"
    assert all(made[name].stops < made[server].stops for name in OWN for server in SERVERS)


def test_every_worker_is_hosted_once() -> None:
    workers = Path(table.__file__).parents[2] / "workers"
    hosted = [name for names in table.HOSTS.values() for name in names]
    assert sorted(hosted) == sorted(path.parent.name for path in workers.glob("*/worker.py"))


def test_no_secret_stands_on_a_command_line(site: Site) -> None:
    made = units(site)
    secrets = {getattr(site.secrets, name) for name in ("postgres", "neo4j", "valkey", "door", "secret_key")}
    for unit in made.values():
        if unit.program is not None:
            assert not secrets & {word for part in unit.program().command for word in (part, *part.split("="))}


def test_what_stands_on_a_server_is_told_its_address(site: Site) -> None:
    for name in SERVERS:
        site.port(name)
    told = units(site)["models"].program
    assert told is not None
    assert told().environment["KAFKA_BOOTSTRAP_SERVERS"] == f"127.0.0.1:{site.record.ports['kafka']}"
    assert NEEDS["models"]


def test_ports_are_remembered_and_unlike(site: Site) -> None:
    first = {name: site.port(name) for name in SERVERS}
    assert len(set(first.values())) == len(SERVERS)
    assert {name: site.port(name) for name in SERVERS} == first


def test_a_port_that_a_stranger_took_is_chosen_anew(site: Site) -> None:
    port = site.port("kafka")
    site.forget_taken_ports(("kafka",))
    assert site.port("kafka") == port
    with socket.create_server(("127.0.0.1", port)):
        site.forget_taken_ports(("kafka", "unknown"))
        assert site.port("kafka") != port


def test_a_preferred_port_is_taken_if_it_is_free() -> None:
    free = ports.choose(set())
    assert ports.choose(set(), free) == free
    assert ports.choose({free}, free) != free


def test_no_free_port_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(ports.NoFreePortError, match="ss -ltn"):
        ports.choose(set())


def test_a_path_in_a_properties_file_is_ascii() -> None:
    assert java.property_value(Path("/a/ü\\b/😀")) == r"/a/\u00fc\\b/\ud83d\ude00"


async def test_kafka_refuses_a_folder_that_it_would_read_as_two(tmp_path: Path) -> None:
    home = Home(tmp_path / "a,b")
    home.create()
    site = Site(home, Secrets.ensure(home), StackRecord(), tmp_path)
    with pytest.raises(StartError, match="comma"):
        await SERVERS["kafka"](site).prepare(lambda detail: None)
