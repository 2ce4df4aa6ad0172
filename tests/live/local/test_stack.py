"""The local stack as users meet it: by `millrace up` and `down`, with servers that are killed in between."""

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from neo4j import AsyncGraphDatabase

from infra.local.doctor import Verdict, examine
from infra.local.ports import is_free
from infra.local.record import State
from infra.local.state import ADDRESSES, Home, Secrets
from tests.eventually import eventually
from tests.live.local.conftest import Local, recorded, runs

SMALL = "postgres,valkey"
Make = Callable[..., Local]


async def remember(local: Local, word: str) -> None:
    """Keep a word in Postgres and in Valkey."""
    connection = await asyncpg.connect(local.environment["POSTGRES_DSN"])
    await connection.execute("create table if not exists words (word text)")
    await connection.execute("insert into words values ($1)", word)
    await connection.close()
    client = redis.asyncio.from_url(local.environment["REDIS_URL"], decode_responses=True)
    await client.rpush("words", word)
    await client.aclose()


async def remembered(local: Local) -> tuple[list[str], list[str]]:
    connection = await asyncpg.connect(local.environment["POSTGRES_DSN"])
    rows = await connection.fetch("select word from words order by word")
    await connection.close()
    client = redis.asyncio.from_url(local.environment["REDIS_URL"], decode_responses=True)
    words = await client.lrange("words", 0, -1)
    await client.aclose()
    return [row["word"] for row in rows], sorted(words)


def command_lines(local: Local) -> str:
    return "\n".join(" ".join(psutil.Process(pid).cmdline()) for pid in local.pids().values())


async def test_a_stack_starts_answers_and_leaves_nothing(local: Local) -> None:
    said = json.loads(local("up", "--only", f"{SMALL},door", "--json"))
    assert said["state"] == "ready"
    await remember(local, "one")
    assert runs(local) == {"postgres", "valkey", "door"}
    assert "already" not in local("up", "--only", SMALL)
    local("status")
    local("doctor")
    assert "ready to accept connections" in local("logs", "postgres")

    secrets = Secrets.read(local.home)
    assert secrets is not None
    key = local.home.api_key.read_text().strip()
    for secret in (secrets.postgres, secrets.neo4j, secrets.valkey, secrets.door, secrets.secret_key, key):
        assert secret not in local.said
        assert secret not in command_lines(local)
    for path in (local.home.secrets, local.home.api_key, local.home.record, local.home.run / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    ports = [local.status()[name].port for name in ("postgres", "valkey", "door")]

    local("down")
    await eventually(lambda: local.left() == [], within=5)
    assert all(map(is_free, ports))
    local("status", expected=3)


async def test_a_second_start_keeps_ports_secrets_and_data(local: Local) -> None:
    local("up", "--only", SMALL)
    before = local.environment
    await remember(local, "one")
    local("down")
    local("up", "--only", SMALL)
    assert local.environment == before
    assert await remembered(local) == (["one"], ["one"])


async def test_what_a_killed_supervisor_left_is_adopted_and_watched(local: Local) -> None:
    local("up", "--only", SMALL)
    await remember(local, "one")
    before = local.pids()
    local.kill("supervisor")
    assert runs(local) == {"postgres", "valkey"}
    await remember(local, "two")
    local("up", "--only", SMALL)
    after = local.pids()
    assert after["supervisor"] != before["supervisor"]
    assert {name: after[name] for name in ("postgres", "valkey")} == {
        name: before[name] for name in ("postgres", "valkey")
    }
    local.kill("postgres")
    await eventually(lambda: local.status()["postgres"].state == "ready" and local.status()["postgres"].restarts)
    assert await remembered(local) == (["one", "two"], ["one", "two"])


async def test_what_died_with_its_supervisor_is_replaced_without_loss(local: Local) -> None:
    local("up", "--only", SMALL)
    await remember(local, "one")
    for name in ("supervisor", "postgres", "valkey"):
        local.kill(name)
    local("up", "--only", SMALL)
    assert await remembered(local) == (["one"], ["one"])


async def test_a_killed_server_is_started_again_on_its_port(local: Local) -> None:
    local("up", "--only", "valkey")
    before = local.status()["valkey"]
    local.kill("valkey")
    after = await eventually(
        lambda: (line := local.status()["valkey"]).state == "ready" and line.pid != before.pid and line
    )
    assert (after.port, after.restarts) == (before.port, 1)


async def test_a_stranger_under_a_recorded_pid_is_left_alone(local: Local) -> None:
    local("up", "--only", "valkey")
    local("down")
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    record = recorded(local)
    record.processes["valkey"].pid = stranger.pid
    record.supervisor_pid = stranger.pid
    # A pid comes round after minutes; a start and a stop take less than the second within which starts count as one.
    record.supervisor_started -= 60
    record.write(local.home.record)
    local("up", "--only", "valkey")
    local("down")
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_down_alone_ends_what_a_killed_supervisor_left(local: Local) -> None:
    local("up", "--only", SMALL)
    local.kill("supervisor")
    local("down")
    await eventually(lambda: local.left() == [], within=5)


async def test_units_are_added_to_a_running_stack(local: Local) -> None:
    local("up", "--only", "valkey")
    before = local.pids()
    local("up", "--only", "postgres")
    after = local.pids()
    assert after["valkey"] == before["valkey"]
    assert after.keys() == {"supervisor", "valkey", "postgres"}
    assert set(recorded(local).wanted) == {"valkey", "postgres", "schema"}
    local.kill("valkey")
    await eventually(lambda: local.status()["valkey"].restarts and local.status()["valkey"].state == "ready")


async def test_two_stacks_do_not_disturb_each_other(make: Make) -> None:
    one, two = make(), make()
    one("up", "--only", SMALL)
    two("up", "--only", SMALL)
    await remember(one, "one")
    await remember(two, "two")
    assert set(one.pids().values()).isdisjoint(two.pids().values())
    two("down")
    assert await remembered(one) == (["one"], ["one"])
    assert one.status()["supervisor"].state == "ready"


async def test_an_outside_server_replaces_our_own(make: Make) -> None:
    theirs = make()
    theirs("up", "--only", "valkey")
    ours = make(REDIS_URL=theirs.environment["REDIS_URL"])
    ours("up", "--only", SMALL)
    assert runs(ours) == {"postgres"}
    assert recorded(ours).processes["valkey"].state is State.OUTSIDE
    found = json.loads(ours("doctor", "--json"))
    assert {one["need"]: one["verdict"] for one in found["findings"]}["REDIS_URL"] == "ok"
    # Later commands know of it without being told again.
    assert ours.environment["REDIS_URL"] == theirs.environment["REDIS_URL"]
    client = redis.asyncio.from_url(ours.environment["REDIS_URL"])
    assert await client.ping()
    await client.aclose()


async def test_a_start_that_cannot_succeed_says_why_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    local = make(MILLRACE_CACHE=str(tmp_path / "empty"), MILLRACE_JAR_REPOSITORY="http://127.0.0.1:9")
    local("up", "--only", "kafka,valkey", expected=1)
    assert "MILLRACE_JAR_REPOSITORY" in local.said
    await eventually(lambda: local.left() == [], within=5)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's own folders are open to itself")
async def test_root_in_a_closed_folder(make: Make) -> None:
    local = make(mode=0o700)
    said = json.loads(local("up", "--only", SMALL, "--json"))
    place = Path(said["places"]["postgres"])
    assert place.is_dir()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    await remember(local, "one")
    local("down")
    local("up", "--only", SMALL)
    assert await remembered(local) == (["one"], ["one"])
    local("down", "--wipe")
    assert not place.exists()


async def test_nothing_is_lost_when_everything_is_killed(local: Local) -> None:
    local("up", "--no-workers")
    found = local.environment
    bootstrap, login = found["KAFKA_BOOTSTRAP_SERVERS"], (found["NEO4J_USER"], found["NEO4J_PASSWORD"])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(100):
        await producer.send_and_wait("dead.letters", b"%d" % number, partition=0)
    await producer.stop()
    async with AsyncGraphDatabase.driver(found["NEO4J_URI"], auth=login) as driver:
        await driver.execute_query("CREATE (:Kept {number: 1})")

    for name, pid in local.pids().items():
        assert name
        psutil.Process(pid).kill()
    local("up", "--no-workers")

    assert local.environment == found
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    partition = TopicPartition("dead.letters", 0)
    consumer.assign([partition])
    kept: list[bytes | None] = []
    while len(kept) < 100:
        kept += [record.value for record in (await consumer.getmany(timeout_ms=5000))[partition]]
    await consumer.stop()
    assert kept == [b"%d" % number for number in range(100)]
    async with AsyncGraphDatabase.driver(found["NEO4J_URI"], auth=login) as driver:
        records, _, _ = await driver.execute_query("MATCH (n:Kept) RETURN count(n) AS count")
        assert records[0]["count"] == 1
    total = sum(line.pss_bytes or 0 for line in local.status().values())
    assert total < 900e6, f"the servers alone take {total / 1e6:.0f} MB"


async def test_in_the_foreground_ctrl_c_stops_everything(local: Local) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "up", "--foreground", "--only", "valkey"),
        env=os.environ | {"MILLRACE_HOME": str(local.home.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if "Ctrl-C" in line:
            break
    assert runs(local) == {"valkey"}
    process.send_signal(signal.SIGINT)
    await process.stdout.read()
    assert await process.wait() == 0
    await eventually(lambda: local.left() == [], within=5)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children hear SIGINT, also where the whole run was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
async def test_ctrl_c_during_the_start_stops_what_was_started(local: Local) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "up", "--only", "valkey,postgres"),
        env=os.environ | {"MILLRACE_HOME": str(local.home.root)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await eventually(lambda: local.home.record.exists() and "valkey" in runs(local), within=20)
    process.send_signal(signal.SIGINT)
    assert await process.wait() != 0
    await eventually(lambda: local.left() == [], within=5)


async def test_outside_servers_are_asked_by_doctor(stack_environment: dict[str, str]) -> None:
    findings = {finding.need: finding for finding in await examine(Home.find(), stack_environment)}
    for variable in {variable for name, (variable, *_) in ADDRESSES.items() if name != "llm"}:
        assert findings[variable].verdict is Verdict.OK, findings[variable]
    assert findings["POSTGRES_DSN"].detail.startswith("PostgreSQL 18")
