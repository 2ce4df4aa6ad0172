"""The gateway as a process, in front of the real log and a database of these tests' own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from cryptography.fernet import Fernet

from infra.kafka.codec import decode
from infra.kafka.worker import Delivery
from infra.objects.store import ObjectStore
from infra.postgres.keys import create_key
from infra.postgres.migrate import upgrade
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from schemas.raw import RawEvent
from tests.eventually import eventually
from tests.live.postgres.databases import database_of_its_own
from topics.catalogue import RAW_EVENTS, Topic

Environment = dict[str, str]
LOOPBACK = "127.0.0.1"


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    process: asyncio.subprocess.Process
    log: Path

    def client(self, key: str = "", **options: object) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, **options)  # type: ignore[arg-type]

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 30)


async def free_port() -> int:
    server = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@asynccontextmanager
async def running(environment: Environment, folder: Path) -> AsyncIterator[Gateway]:
    """Start a gateway process, yield it once it answers, stop it."""
    port = await free_port()
    log = folder / f"gateway-{uuid4().hex[:8]}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            env=os.environ | environment | {"MILLRACE_GATEWAY_PORT": str(port)},
            stdout=output,
            stderr=output,
        )
    gateway = Gateway(f"http://{LOOPBACK}:{port}", process, log)

    async def alive() -> bool:
        assert process.returncode is None, log.read_text()
        try:
            async with gateway.client() as client:
                return (await client.get("/health/live")).status_code == 200
        except httpx.TransportError:
            return False

    try:
        await eventually(alive, within=30)
        yield gateway
    finally:
        try:
            await gateway.stop()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


@pytest.fixture(scope="session")
async def surroundings(
    kafka: Environment, postgres: Environment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Environment]:
    """What a gateway is told: real log and database; graph, vectors and cache are away."""
    async with database_of_its_own(postgres["POSTGRES_DSN"]) as dsn:
        await upgrade(dsn)
        yield {
            "KAFKA_BOOTSTRAP_SERVERS": kafka["KAFKA_BOOTSTRAP_SERVERS"],
            "POSTGRES_DSN": dsn,
            "OBJECT_STORE_URL": tmp_path_factory.mktemp("objects").as_uri(),
            "MILLRACE_SECRET_KEY": Fernet.generate_key().decode(),
            "NEO4J_URI": "bolt://127.0.0.1:1",
            "NEO4J_PASSWORD": "unused",
            "QDRANT_URL": "http://127.0.0.1:1",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "MILLRACE_KEY_CACHE_S": "0.5",
            "MILLRACE_SOURCE_CACHE_S": "0.5",
            "MILLRACE_SEARCH_TIMEOUT_S": "5",
        }


@pytest.fixture(scope="session")
async def gateway(surroundings: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running(surroundings, tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture(scope="session")
async def pool(surroundings: Environment) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(PostgresSettings(dsn=surroundings["POSTGRES_DSN"], pool_size=4)) as opened:
        yield opened


@pytest.fixture
def workspace() -> str:
    return f"ws-{uuid4().hex[:12]}"


@pytest.fixture
async def key(pool: asyncpg.Pool, workspace: str) -> str:
    """A key of this test's own workspace."""
    return (await create_key(pool, workspace, "test")).key


@pytest.fixture
async def client(gateway: Gateway, pool: asyncpg.Pool, workspace: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of this test's own workspace."""
    made = await create_key(pool, workspace, "test")
    async with gateway.client(made.key) as opened:
        yield opened


@pytest.fixture
async def stranger(gateway: Gateway, pool: asyncpg.Pool, workspace: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another workspace."""
    made = await create_key(pool, f"{workspace}-2", "test")
    async with gateway.client(made.key) as opened:
        yield opened


class Tail:
    """Reads a topic from where it ended when the test began."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: Topic, objects: ObjectStore) -> None:
        self._consumer = consumer
        self._topic = topic
        self._objects = objects
        self.found: list[Delivery] = []

    async def read(self) -> list[Delivery]:
        """Return everything so far."""
        batches = await self._consumer.getmany(timeout_ms=200)
        for records in batches.values():
            for record in records:
                delivery = await decode(record, self._topic, self._objects)
                assert delivery is not None
                self.found.append(delivery)
        return self.found

    async def events(self, workspace: str, count: int = 1) -> list[RawEvent]:
        """Wait for `count` events of `workspace` and return their bodies."""

        async def enough() -> list[RawEvent]:
            bodies = [each.body for each in await self.read() if each.envelope.workspace == workspace]
            return bodies if len(bodies) >= count else []

        return await eventually(enough)


@asynccontextmanager
async def tailing(surroundings: Environment, topic: Topic) -> AsyncIterator[Tail]:
    consumer = AIOKafkaConsumer(bootstrap_servers=surroundings["KAFKA_BOOTSTRAP_SERVERS"], enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        yield Tail(consumer, topic, ObjectStore.open(surroundings["OBJECT_STORE_URL"]))
    finally:
        await consumer.stop()


@pytest.fixture
async def log(surroundings: Environment) -> AsyncIterator[Tail]:
    """The events accepted from now on."""
    async with tailing(surroundings, RAW_EVENTS) as tail:
        yield tail
