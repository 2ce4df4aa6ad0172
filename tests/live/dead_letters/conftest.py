"""A worker that gives up on what it is told to, the real ledger, and the operators' command line."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from infra.errors import Permanent
from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime, Timing
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.objects.store import ObjectStore
from infra.postgres.letters import Letter, Wanted, list_letters
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from schemas.dead_letters import Reason
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually
from topics.catalogue import RAW_EVENTS
from workers.ledger.worker import worker as ledger
from workers.normalizer.inbox import first_seen

Environment = dict[str, str]
QUICK = Timing(session_s=6, heartbeat_s=0.2, poll_s=0.1)


@dataclass
class Mill:
    """What the worker under test does with each delivery, and what came of it."""

    pool: asyncpg.Pool
    workspaces: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    """Delivery ids that it refuses for good."""
    done: Counter[str] = field(default_factory=Counter)
    origins: list[tuple[str, int, int]] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)


@pytest.fixture(scope="session")
async def surroundings(
    kafka: Environment, postgres: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """What the command line is told."""
    names = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN")
    found = {name: (kafka | postgres)[name] for name in names}
    return found | {"OBJECT_STORE_URL": tmp_path_factory.mktemp("objects").as_uri()}


@pytest.fixture(scope="session")
async def pool(surroundings: Environment) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(PostgresSettings(dsn=surroundings["POSTGRES_DSN"], pool_size=4)) as opened:
        yield opened


@pytest.fixture(scope="session")
async def objects(surroundings: Environment) -> ObjectStore:
    return ObjectStore.open(surroundings["OBJECT_STORE_URL"])


@pytest.fixture(scope="session")
async def publisher(surroundings: Environment, objects: ObjectStore) -> AsyncIterator[Publisher]:
    opened = await Publisher.open([surroundings["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


@asynccontextmanager
async def running(
    worker: Worker[Any], surroundings: Environment, publisher: Publisher, objects: ObjectStore
) -> AsyncIterator[Runtime[Any]]:
    runtime = Runtime(worker, [surroundings["KAFKA_BOOTSTRAP_SERVERS"]], publisher, objects, timing=QUICK)
    task = asyncio.create_task(runtime.run())
    yield runtime
    runtime.stop()
    await task


@pytest.fixture(scope="session")
async def mill(
    surroundings: Environment, pool: asyncpg.Pool, publisher: Publisher, objects: ObjectStore
) -> AsyncIterator[Mill]:
    """A consumer of raw events that refuses some, and the ledger; both over the real log."""
    made = Mill(pool)

    @asynccontextmanager
    async def tools() -> AsyncIterator[Mill]:
        yield made

    # In the normalizer's place: what nobody can decode is the first consumer's to bury, and not the ledger's too.
    worker = Worker("normalizer", tools=tools, group=f"mill-{uuid4().hex}")

    @worker.handles(RAW_EVENTS, Micro(records=16))
    async def grind(deliveries: Sequence[Delivery[RawEvent]], mill: Mill) -> Iterable[Outgoing]:
        ours = [delivery for delivery in deliveries if delivery.body.workspace in mill.workspaces]
        for delivery in ours:
            if delivery.body.delivery in mill.refuses:
                raise Permanent(Reason.REFUSED_BY_SINK, "the mill does not take it")
        mill.first += await first_seen(mill.pool, ours)
        for delivery in ours:
            mill.done[delivery.body.delivery] += 1
            mill.origins.append((delivery.origin.topic, delivery.origin.partition, delivery.origin.offset))
        return ()

    @asynccontextmanager
    async def ledger_tools() -> AsyncIterator[asyncpg.Pool]:
        yield pool

    recorder = Worker(
        "ledger",
        tools=ledger_tools,
        publishes=ledger.publishes,
        subscriptions=ledger.subscriptions,
        group=f"ledger-{uuid4().hex}",
    )
    async with (
        running(worker, surroundings, publisher, objects),
        running(recorder, surroundings, publisher, objects),
    ):
        yield made


@pytest.fixture
def workspace(mill: Mill) -> str:
    name = f"w{uuid4().hex[:16]}"
    mill.workspaces.add(name)
    return name


Accept = Callable[..., Awaitable[RawEvent]]


@pytest.fixture
def accept(publisher: Publisher) -> Accept:
    """Put an event on the log, as the gateway does."""

    async def put(delivery: str, workspace: str, **fields: Any) -> RawEvent:
        body = raw_event(delivery, workspace=workspace, subject=delivery, **fields)
        await publisher.publish(RAW_EVENTS, body, new_envelope(body, id=body.event_id, source="/gateway"))
        return body

    return put


@pytest.fixture
async def produce(surroundings: Environment) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Produce records past our own publisher, as a broken producer would."""
    producer = AIOKafkaProducer(bootstrap_servers=surroundings["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()

    async def send(**fields: Any) -> None:
        await producer.send_and_wait(RAW_EVENTS.name, **fields)

    yield send
    await producer.stop()


@dataclass
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


Millrace = Callable[..., Awaitable[Answer]]


@pytest.fixture
def millrace(surroundings: Environment, tmp_path: Path) -> Millrace:
    """Run the command line as an operator does."""

    async def run(*arguments: str) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.cli.main", *arguments),
            env=os.environ | surroundings | {"MILLRACE_HOME": str(tmp_path / "none"), "COLUMNS": "250"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Answer(process.returncode or 0, out.decode(), err.decode())

    return run


async def letters_of(pool: asyncpg.Pool, workspace: str, **fields: Any) -> list[Letter]:
    """Return every letter of `workspace`, whoever wrote it."""
    return await list_letters(pool, Wanted(workspace=workspace, **fields))


async def one_letter(pool: asyncpg.Pool, workspace: str, *, state: str = "open", attempts: int = 1) -> Letter:
    """Wait for the only letter of `workspace` to be in `state` after so many attempts."""

    async def check() -> Letter | None:
        (letter,) = await letters_of(pool, workspace)
        assert (letter.state, letter.attempts) == (state, attempts)
        return letter

    async def settled() -> Letter | None:
        found = await letters_of(pool, workspace)
        return await check() if len(found) == 1 else None

    found = await eventually(settled, within=20)
    assert found is not None
    return found


def identity(letter: Letter) -> tuple[UUID, str, int, int]:
    return (letter.letter_id, letter.topic, letter.partition, letter.offset)
