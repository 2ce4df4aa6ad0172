"""The servers that the fault tests break: each behind a proxy, and each also reachable around it."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.local.stack import Stack
from infra.neo4j.client import open_driver
from infra.objects.store import ObjectStore
from infra.postgres.keys import create_key
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.settings import Neo4jSettings, PostgresSettings, QdrantSettings
from schemas.documents import DocumentVersion
from schemas.raw import RawEvent
from tests.events import document, raw_event
from tests.eventually import eventually
from tests.faults.cluster import Cluster, clustered
from tests.faults.invariants import Sinks, latest
from tests.faults.proxy import Proxy, proxied
from topics.catalogue import DOCUMENTS, RAW_EVENTS, Topic

Environment = dict[str, str]
FRONTED = {"postgres": "POSTGRES_DSN", "neo4j": "NEO4J_URI", "valkey": "REDIS_URL", "door": "QDRANT_URL"}
QUICK = {
    "MILLRACE_ENCODER": "hash",
    "MILLRACE_LOG_LEVEL": "INFO",
    # A dead member keeps its partitions for 3 s, not for 10.
    "MILLRACE_SESSION_S": "3",
    # Under the proxy's silence a request must not wait for half a minute.
    "QDRANT_TIMEOUT_S": "3",
    "MILLRACE_KEY_CACHE_S": "0.5",
    "MILLRACE_SOURCE_CACHE_S": "0.5",
}


@dataclass
class Arena:
    """Everything that stands under a test. `environment` leads through the proxies, `direct` around them."""

    folder: Path
    stack: Stack
    cluster: Cluster
    proxies: dict[str, Proxy]
    direct: Environment
    environment: Environment
    sinks: Sinks
    publisher: Publisher

    async def heal(self) -> None:
        """Forward everything, bring back what is down, wait until it answers."""
        await self.cluster.mend()
        for proxy in self.proxies.values():
            await proxy.heal()
        for name in FRONTED:
            await eventually(lambda name=name: self._up(name), within=60, every=0.1)  # type: ignore[misc]

    def _up(self, name: str) -> bool:
        return self.stack.record.processes[name].state == "ready"

    def signal(self, server: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a server; killed, it is started again by its keeper."""
        pid = self.stack.record.processes[server].pid
        assert pid is not None
        os.kill(pid, number)

    async def put(self, *versions: DocumentVersion) -> None:
        """Publish document versions, as the normalizer does."""
        for version in versions:
            envelope = new_envelope(version, id=version.event_id, source=version.source)
            await self.publisher.publish(DOCUMENTS, version, envelope)

    async def accept(self, *events: RawEvent) -> None:
        """Publish raw events, as the gateway does."""
        for event in events:
            await self.publisher.publish(RAW_EVENTS, event, new_envelope(event, id=event.event_id, source=event.source))

    async def done(self, group: str, topic: Topic[Any]) -> bool:
        """Whether `group` has committed all of `topic`."""
        committed = await self.sinks.committed(group, topic)
        return all(committed.get(number, 0) == end for number, end in (await self.sinks.ends(topic)).items())

    async def key(self, workspace: str) -> str:
        """Return a new API key of `workspace`."""
        return (await create_key(self.sinks.pool, workspace, "test")).key

    async def receipts(self, versions: Iterable[DocumentVersion], sink: str) -> bool:
        """Whether the newest of each document has its receipt of `sink` in the ledger."""
        wanted = [version.event_id for version in latest(versions)]
        found = await self.sinks.pool.fetchval(
            "select count(distinct event_id) from receipts where sink = $1 and event_id = any($2::uuid[])", sink, wanted
        )
        return bool(found == len(wanted))


def corpus(workspace: str, count: int, *, version: int = 1, first: int = 0) -> list[DocumentVersion]:
    """Return documents about people and places, with what a graph can hold."""
    return [
        document(
            f"Kiln {number} in the mill of {workspace[:1]}ick burns at {900 + number} degrees, version {version}.",
            version=version,
            workspace=workspace,
            external_id=f"kiln-{number}",
            title=f"Kiln {number}",
        )
        for number in range(first, first + count)
    ]


def note(workspace: str, name: str, text: str, **fields: object) -> RawEvent:
    """Return an uploaded text, as it lies in raw.events."""
    values: dict[str, object] = {
        "connector": "files",
        "subject": name,
        "content_type": "text/markdown",
        "attributes": {"filename": f"{name}.md", "title": name},
        "body": text.encode(),
    }
    return raw_event(f"{name}-{uuid4().hex[:8]}", workspace=workspace, **{**values, **fields})


def _through(address: str, port: int) -> str:
    parts = urlsplit(address)
    userinfo, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{port}"))


@asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    """Start servers, brokers and proxies."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
    folder.chmod(0o711)
    async with AsyncExitStack() as resources:
        if not os.environ.get("MILLRACE_KEEP_FAULTS"):
            resources.callback(shutil.rmtree, folder)
        stack = await resources.enter_async_context(Stack.start(folder / "home", only=set()))
        starting = asyncio.gather(*(stack.ensure(name) for name in ("schema", "neo4j", "valkey", "door")))
        cluster = await resources.enter_async_context(clustered(folder / "kafka"))
        await starting
        direct = stack.environment | QUICK | {"KAFKA_BOOTSTRAP_SERVERS": cluster.direct}
        environment = direct | {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap}
        proxies = {}
        for server, variable in FRONTED.items():
            port = urlsplit(direct[variable]).port
            assert port is not None
            proxies[server] = await resources.enter_async_context(proxied(port))
            environment[variable] = _through(direct[variable], proxies[server].port)
        objects = ObjectStore.open(direct["OBJECT_STORE_URL"])
        publisher = await Publisher.open(cluster.direct.split(","), objects)
        resources.push_async_callback(publisher.close)
        sinks = await _sinks(resources, direct, cluster, objects)
        yield Arena(folder, stack, cluster, proxies, direct, environment, sinks, publisher)


async def _sinks(resources: AsyncExitStack, direct: Environment, cluster: Cluster, objects: ObjectStore) -> Sinks:
    qdrant = await resources.enter_async_context(open_client(QdrantSettings.model_validate(direct)))
    graph = await resources.enter_async_context(open_driver(Neo4jSettings.model_validate(direct)))
    pool = await resources.enter_async_context(open_pool(PostgresSettings.model_validate(direct)))
    return Sinks(qdrant, graph, pool, objects, cluster.direct, "millrace_main")
