"""Apache Kafka as one KRaft node on loopback. Values marked "measured" are from 4.1.1 on two cores."""

import asyncio
import base64
import struct
import uuid

from infra.local.program import LOOPBACK, NotReady, Program, Site, StartError, Tell
from infra.local.servers import java
from infra.local.state import write_private

HEAP_MB = (64, 256)

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
log.segment.bytes=67108864
"""

MEASURED = """\
# An offset commit takes 0.6 ms instead of 7.2 ms (default linger 5 ms).
group.coordinator.append.linger.ms=0
# The first member of a group gets its partitions at once.
group.initial.rebalance.delay.ms=0
# 154 MB resident instead of 289 MB.
log.cleaner.dedupe.buffer.size=2097152
# Back 4.2 s after kill -9 instead of 12 s: the broker waits for its own old registration to expire.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""

LOGGING = """\
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.clients" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""

API_VERSIONS = 18
METADATA = 3
NO_ERROR = 0


class Kafka:
    """The log."""

    name = "kafka"
    artifacts: tuple[str, ...] = ("kafka",)

    def __init__(self, site: Site) -> None:
        self._site = site
        self._data = site.home.data(self.name)
        self._settings = site.home.run / "kafka.properties"
        self._logging = site.home.run / "kafka-log4j2.xml"
        self._environment: dict[str, str] = {}

    async def prepare(self, tell: Tell) -> None:
        """Write the configuration, check the jars, and format the data folder once."""
        if "," in str(self._data):
            raise StartError(f"Kafka would read {self._data} as two folders: name one without a comma by MILLRACE_HOME")
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = SETTINGS.format(
            host=LOOPBACK,
            port=self._site.port("kafka"),
            controller=self._site.port("kafka-controller"),
            data=java.property_value(self._data),
        )
        write_private(self._settings, settings + MEASURED)
        write_private(self._logging, LOGGING)
        self._environment = await asyncio.to_thread(java.environment, "kafka", self._site.cache)
        # A second format fails, and an interrupted one leaves no meta.properties: it is written last.
        if not (self._data / "meta.properties").exists():
            tell("formatting its storage")
            await self._format()

    async def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        process = await asyncio.create_subprocess_exec(
            *self._java("kafka.tools.StorageTool"),
            # With `=`: one id in 64 begins with a dash, and would be read as an option.
            *("format", f"--cluster-id={cluster}", "-c", str(self._settings), "--ignore-formatted"),
            env=java.clean_environment(self._environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise StartError(f"Kafka cannot format {self._data}: {output.decode(errors='replace').strip()[-400:]}")

    def _java(self, main: str) -> tuple[str, ...]:
        return java.command(HEAP_MB, main, (f"-Dlog4j2.configurationFile={self._logging.as_uri()}",))

    def program(self) -> Program:
        """Return the broker."""
        port = self._site.port("kafka")
        return Program(
            name=self.name,
            command=(*self._java("kafka.Kafka"), str(self._settings)),
            environment=self._environment,
            port=port,
            ready=lambda: answers(LOOPBACK, port),
            stop_within_s=20,
        )


async def _ask(host: str, port: int, api: int, version: int, body: bytes) -> bytes:
    """Send one request (header version 1) and return the response behind its correlation id."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        client = b"millrace"
        header = struct.pack(">hhih", api, version, 1, len(client)) + client
        writer.write(struct.pack(">i", len(header) + len(body)) + header + body)
        await writer.drain()
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = await reader.readexactly(size)
        return answer[4:]
    finally:
        writer.close()


async def answers(host: str, port: int) -> None:
    """Ask the broker for its API versions, then for the living brokers.

    Protocol: kafka.apache.org/protocol, ApiVersions v0 and Metadata v1. A broker answers the first before it has
    registered with the controller; only one that names itself in the second takes records.
    Raises NotReady, OSError.
    """
    try:
        versions = await _ask(host, port, API_VERSIONS, 0, b"")
        # An empty array of topics means none in Metadata v1.
        brokers = await _ask(host, port, METADATA, 1, struct.pack(">i", 0))
    except asyncio.IncompleteReadError as fault:
        raise NotReady("closed the connection") from fault
    if struct.unpack(">h", versions[:2])[0] != NO_ERROR:
        raise NotReady("refused ApiVersions")
    if struct.unpack(">i", brokers[:4])[0] < 1:
        raise NotReady("has not registered with its controller yet")
