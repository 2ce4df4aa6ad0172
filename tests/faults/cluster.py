"""Real brokers on loopback with a proxy in front of each: one broker, or three with replication.

Clients that bootstrap from `bootstrap` reach every broker through its proxy, since that is the address it advertises
there; `direct` goes around them, for a test's own eyes and hands.
"""

import asyncio
import base64
import os
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.kafka.admin import apply
from infra.local import processes
from infra.local.artifacts import absent, cache_folder, named
from infra.local.fetch import fetch
from infra.local.ports import choose
from infra.local.program import LOOPBACK, NotReady, Program
from infra.local.servers import java
from infra.local.servers.kafka import HEAP_MB, LOGGING, MEASURED, answers
from infra.settings import KafkaSettings
from tests.eventually import eventually
from tests.faults.proxy import Proxy, proxied

SETTINGS = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=FRONT://{host}:{front},BACK://{host}:{back},CONTROLLER://{host}:{controller}
advertised.listeners=FRONT://{host}:{proxy},BACK://{host}:{back}
controller.listener.names=CONTROLLER
inter.broker.listener.name=BACK
listener.security.protocol.map=FRONT:PLAINTEXT,BACK:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={insync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={insync}
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={insync}
share.coordinator.state.topic.num.partitions=2
num.network.threads=2
num.io.threads=4
background.threads=2
log.segment.bytes=8388608
# Tests wait for a dead member to be noticed: the default forbids less than 6 s.
group.min.session.timeout.ms=500
# A leader is replaced in 2 to 3 s instead of 8 to 11 s.
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
replica.lag.time.max.ms=5000
{more}
"""


@dataclass
class Broker:
    """One node: its process and the proxy in front of it."""

    node: int
    folder: Path
    front: int
    back: int
    controller: int
    proxy: Proxy
    environment: dict[str, str]
    child: processes.Child | None = None

    @property
    def settings(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, main: str) -> tuple[str, ...]:
        logging = self.folder / "log4j2.xml"
        return java.command(HEAP_MB, main, (f"-Dlog4j2.configurationFile={logging.as_uri()}",))

    async def format(self, cluster: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(*self._java("kafka.tools.StorageTool"), "format", f"--cluster-id={cluster}", "-c", str(self.settings)),
            env=java.clean_environment(self.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()

    def start(self) -> None:
        """Start the process; it may not answer yet."""

        async def ready() -> None:
            await answers(LOOPBACK, self.back)

        program = Program(f"broker-{self.node}", (*self._java("kafka.Kafka"), str(self.settings)), ready)
        self.child = processes.spawn(program, os.environ | self.environment, self.folder / "broker.log", tied=True)

    async def answered(self) -> bool:
        assert self.child is not None
        assert self.child.lives(), (self.folder / "broker.log").read_text()[-2_000:]
        try:
            await answers(LOOPBACK, self.back)
        except (NotReady, OSError):
            return False
        return True

    async def ready(self, within: float = 60) -> None:
        await eventually(self.answered, within=within, every=0.1)

    def signal(self, number: int) -> None:
        assert self.child is not None
        os.kill(self.child.pid, number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self.child is not None:
            if self.child.lives():
                self.thaw()
            await processes.stop(self.child, number, 20)


@dataclass
class Cluster:
    """Brokers of one cluster."""

    brokers: list[Broker] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{LOOPBACK}:{broker.proxy.port}" for broker in self.brokers)

    @property
    def direct(self) -> str:
        return ",".join(f"{LOOPBACK}:{broker.back}" for broker in self.brokers)

    async def apply_topics(self) -> None:
        """Create the catalogue's topics."""
        replicas = len(self.brokers)
        await apply(
            KafkaSettings.model_validate(
                {
                    "KAFKA_BOOTSTRAP_SERVERS": self.direct,
                    "KAFKA_REPLICATION_FACTOR": replicas,
                    "KAFKA_MIN_INSYNC_REPLICAS": 2 if replicas > 1 else 1,
                }
            )
        )

    async def mend(self) -> None:
        """Bring every broker and proxy back."""
        for broker in self.brokers:
            assert broker.child is not None
            if broker.child.lives():
                broker.thaw()
            else:
                broker.start()
            await broker.proxy.heal()
        for broker in self.brokers:
            await broker.ready()


async def _jars() -> dict[str, str]:
    cache = cache_folder()
    if absent(list(named("kafka")), cache):
        await fetch(("kafka",), cache, lambda done, total: None)
    return await asyncio.to_thread(java.environment, "kafka", cache)


@asynccontextmanager
async def clustered(folder: Path, size: int = 1, data: Sequence[Path] = (), more: str = "") -> AsyncIterator[Cluster]:
    """Run `size` brokers with the catalogue's topics; `data` replaces their data folders, `more` adds settings."""
    environment = await _jars()
    taken: set[int] = set()

    def port() -> int:
        found = choose(taken)
        taken.add(found)
        return found

    cluster = Cluster()
    async with AsyncExitStack() as stack:
        for node in range(1, size + 1):
            home = folder / f"broker-{node}"
            home.mkdir(parents=True)
            front = port()
            proxy = await stack.enter_async_context(proxied(front))
            taken.add(proxy.port)
            cluster.brokers.append(Broker(node, home, front, port(), port(), proxy, environment))
        voters = ",".join(f"{broker.node}@{LOOPBACK}:{broker.controller}" for broker in cluster.brokers)
        for broker in cluster.brokers:
            place = data[broker.node - 1] if data else broker.folder / "data"
            _configure(broker, voters, place, size, more)
        name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        await asyncio.gather(*(broker.format(name) for broker in cluster.brokers))
        try:
            for broker in cluster.brokers:
                broker.start()
            for broker in cluster.brokers:
                await broker.ready()
            await cluster.apply_topics()
            yield cluster
        finally:
            await asyncio.gather(*(broker.kill() for broker in cluster.brokers))


def _configure(broker: Broker, voters: str, data: Path, size: int, more: str) -> None:
    settings = SETTINGS.format(
        node=broker.node,
        voters=voters,
        host=LOOPBACK,
        front=broker.front,
        back=broker.back,
        controller=broker.controller,
        proxy=broker.proxy.port,
        data=java.property_value(data),
        replicas=size,
        insync=2 if size > 1 else 1,
        more=more,
    )
    broker.settings.write_text(settings + MEASURED)
    (broker.folder / "log4j2.xml").write_text(LOGGING)
