"""Asks each dependency a real question, small enough for a probe every few seconds.

Qdrant, Neo4j and Redis are asked in their own wire protocol: their client libraries weigh 60, 33 and 22 MB, which this
process otherwise needs late or never.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import SplitResult, unquote, urlsplit

import asyncpg
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from gateway.settings import Environment
from infra.errors import Permanent, Transient
from infra.postgres.pool import translating
from infra.settings import KafkaSettings, Neo4jSettings, QdrantSettings, RedisSettings

WITHIN_S = 2.0
"""A dependency that takes longer does not count as ready."""

_BOLT_HELLO = bytes.fromhex("6060b017 00040405 00000304 00000004 00000000")
"""Bolt's magic preamble and four version proposals: 5.4 down to 5.0, 4.3, 4.0, none.
https://neo4j.com/docs/bolt/current/bolt/handshake/"""


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a dependency; `needed`: without it this gateway can serve nothing."""

    ask: Callable[[], Awaitable[None]]
    needed: bool


@dataclass(frozen=True, slots=True)
class State:
    """What a dependency answered. `detail` is empty when it is well; it never holds an address or a secret."""

    ok: bool
    needed: bool
    latency_ms: float
    detail: str = ""


def probes(environment: Environment, pool: "asyncpg.Pool[asyncpg.Record]") -> dict[str, Probe]:
    """Return a probe per dependency. Log and ledger are needed; the others serve single routes or the workers."""
    return {
        "kafka": Probe(lambda: _kafka(environment.kafka), needed=True),
        "postgres": Probe(lambda: _postgres(pool), needed=True),
        "qdrant": Probe(lambda: _qdrant(environment.qdrant), needed=False),
        "neo4j": Probe(lambda: _neo4j(environment.neo4j), needed=False),
        "redis": Probe(lambda: _redis(environment.redis), needed=False),
    }


async def ask_all(asked: Mapping[str, Probe]) -> dict[str, State]:
    """Ask every dependency at once; takes at most `WITHIN_S` seconds."""
    states = await asyncio.gather(*(_ask(probe) for probe in asked.values()))
    return dict(zip(asked, states, strict=True))


async def _ask(probe: Probe) -> State:
    started = perf_counter()
    detail = ""
    try:
        async with asyncio.timeout(WITHIN_S):
            await probe.ask()
    except TimeoutError:
        detail = f"no answer within {WITHIN_S:g} s"
    except (Transient, Permanent) as error:
        detail = type(error.__cause__ or error).__name__
    except (OSError, EOFError, KafkaError, ValueError) as error:
        detail = type(error).__name__
    return State(not detail, probe.needed, round((perf_counter() - started) * 1000, 1), detail)


async def _kafka(settings: KafkaSettings) -> None:
    client = AIOKafkaClient(bootstrap_servers=list(settings.bootstrap), request_timeout_ms=int(WITHIN_S * 1000))
    try:
        await client.bootstrap()
    finally:
        await client.close()


async def _postgres(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    async with translating():
        await pool.fetchval("select 1 from alembic_version")


async def _qdrant(settings: QdrantSettings) -> None:
    """GET / with the API key. https://api.qdrant.tech/api-reference/service/root"""
    address = urlsplit(settings.url)
    key = f"api-key: {settings.api_key.get_secret_value()}\r\n" if settings.api_key else ""
    wire = f"GET {address.path or '/'} HTTP/1.1\r\nhost: {address.netloc}\r\n{key}connection: close\r\n\r\n"
    answer = await _exchange(address, 6333, wire.encode(), len("HTTP/1.1 200"))
    if not answer.endswith(b" 200"):
        raise ValueError("the server refuses the key or is no Qdrant")


async def _neo4j(settings: Neo4jSettings) -> None:
    answer = await _exchange(urlsplit(settings.uri), 7687, _BOLT_HELLO, 4)
    if not any(answer):
        raise ValueError("the server speaks no Bolt version that we do")


async def _redis(settings: RedisSettings) -> None:
    """PING after AUTH, in RESP inline form. https://redis.io/docs/latest/develop/reference/protocol-spec/"""
    address = urlsplit(settings.url.get_secret_value())
    login = [unquote(part) for part in (address.username, address.password) if part]
    commands = ([["AUTH", *login]] if login else []) + [["PING"]]
    wire = b"".join(_resp(command) for command in commands)
    answer = await _exchange(address, 6379, wire, len("+PONG\r\n") + (len("+OK\r\n") if login else 0))
    if not answer.endswith(b"+PONG\r\n"):
        raise ValueError("the server refuses the password")


def _resp(command: list[str]) -> bytes:
    parts = [part.encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def _exchange(address: SplitResult, default_port: int, wire: bytes, size: int) -> bytes:
    """Send `wire`, read `size` bytes, hang up. Raises OSError, EOFError."""
    secure = address.scheme in {"rediss", "bolt+s", "neo4j+s", "bolt+ssc", "neo4j+ssc", "https"}
    context = await asyncio.to_thread(ssl.create_default_context) if secure else None
    if context is not None and address.scheme.endswith("+ssc"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # self-signed by the operator's own word
    reader, writer = await asyncio.open_connection(
        address.hostname or "localhost", address.port or default_port, ssl=context
    )
    try:
        writer.write(wire)
        await writer.drain()
        return await reader.readexactly(size)
    finally:
        writer.close()
