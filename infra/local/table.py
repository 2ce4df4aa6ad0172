"""The table of what a stack consists of: servers, steps in between, and the processes of Millrace itself.

Each unit starts as soon as what it needs is ready, so that Neo4j, the slowest, holds up only what stands on it.
"""

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from infra.local.artifacts import Progress, absent, named
from infra.local.http import answers
from infra.local.program import LOOPBACK, Program, Server, Site, Tell
from infra.local.provision import provision
from infra.local.servers.door import Door
from infra.local.servers.kafka import Kafka
from infra.local.servers.llm import Llm
from infra.local.servers.neo4j import Neo4j
from infra.local.servers.postgres import Postgres
from infra.local.servers.valkey import Valkey

SERVERS: dict[str, Callable[[Site], Server]] = {
    "kafka": Kafka,
    "postgres": Postgres,
    "neo4j": Neo4j,
    "valkey": Valkey,
    "door": Door,
}
LLM = "llm"
"""The language model: a server that stands in the table only where one was asked for."""
HOSTS = {
    "stream": ("normalizer", "connectors", "graph_builder", "ledger", "archivist", "forgetter"),
    "models": ("embedder", "retriever", "inference"),
}
"""Workers by the process that hosts them: what loads the encoder in one, everything else in another."""
MODEL = "all-MiniLM-L6-v2"
GATEWAY_PORT = 8080
PROGRESS_EVERY_S = 0.2


async def _nothing(tell: Tell) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One line of the table."""

    name: str
    needs: tuple[str, ...] = ()
    stops: int = 0
    """At a stop the units of the lowest number go first; those of one number together."""
    prepare: Callable[[Tell], Awaitable[None]] = _nothing
    program: Callable[[], Program] | None = None
    """None for a step, which is done once prepared."""
    ports: tuple[str, ...] = ()


def _telling(tell: Tell) -> Progress:
    """Say how far a download is, a few times a second."""
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done == total or monotonic() - last > PROGRESS_EVERY_S:
            last = monotonic()
            tell(f"fetching {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    return progress


async def _fetched(names: tuple[str, ...], site: Site, tell: Tell) -> None:
    """Fetch what the cache lacks. The client for it is imported only then: a start without it takes 20 MB less."""
    if absent([one for name in names for one in named(name)], site.cache):
        from infra.local.fetch import fetch

        tell("fetching")
        await fetch(names, site.cache, _telling(tell))


def _server(name: str, site: Site) -> Unit:
    server = Llm(site) if name == LLM else SERVERS[name](site)

    async def prepare(tell: Tell) -> None:
        await _fetched(server.artifacts, site, tell)
        await server.prepare(tell)

    ports = ("kafka", "kafka-controller") if name == "kafka" else (name,)
    return Unit(name, stops=3 if name == "kafka" else 2, prepare=prepare, program=server.program, ports=ports)


def _step(name: str, needs: tuple[str, ...], site: Site) -> Unit:
    async def prepare(tell: Tell) -> None:
        tell("bringing it up to date")
        await provision(name, site.environment())

    return Unit(name, needs=needs, prepare=prepare)


def _weights(site: Site) -> Unit:
    async def prepare(tell: Tell) -> None:
        await _fetched((MODEL,), site, tell)

    return Unit("model", prepare=prepare)


def _host(name: str, needs: tuple[str, ...], site: Site) -> Unit:
    def program() -> Program:
        port = site.port(name)
        return Program(
            name=name,
            command=(sys.executable, "-m", "workers.host", *HOSTS[name]),
            environment=site.environment()
            | {
                "MILLRACE_METRICS_HOST": LOOPBACK,
                "MILLRACE_METRICS_PORT": str(port),
                # One process of each name runs at a time: after a kill its successor has the partitions at once.
                "MILLRACE_INSTANCE": name,
            },
            port=port,
            ready=partial(answers, LOOPBACK, port, "/health/ready"),
            # A handler in flight may take 15 s to finish and commit.
            stop_within_s=25,
        )

    return Unit(name, needs=needs, stops=1, program=program, ports=(name,))


def _gateway(needs: tuple[str, ...], site: Site) -> Unit:
    def program() -> Program:
        port = site.port("gateway", GATEWAY_PORT)
        return Program(
            name="gateway",
            command=(sys.executable, "-m", "gateway"),
            environment=site.environment() | {"MILLRACE_GATEWAY_HOST": LOOPBACK, "MILLRACE_GATEWAY_PORT": str(port)},
            port=port,
            ready=partial(answers, LOOPBACK, port, "/health/ready"),
            stop_within_s=25,
        )

    return Unit("gateway", needs=needs, stops=0, program=program, ports=("gateway",))


NEEDS = {
    "topics": ("kafka",),
    "schema": ("postgres",),
    "stream": ("topics", "schema", "neo4j", "valkey"),
    "models": ("topics", "schema", "model", "door", "valkey"),
    "gateway": ("topics", "schema", "valkey"),
}
OWN = ("stream", "models", "gateway")
NAMES = (*SERVERS, "model", "topics", "schema", *OWN)
"""Every unit that is always there."""


def units(site: Site) -> dict[str, Unit]:
    """Return the whole table, with the language model if the record names one."""
    table = [_server(name, site) for name in SERVERS]
    table.append(_weights(site))
    table += [_step(name, NEEDS[name], site) for name in ("topics", "schema")]
    table += [_host(name, NEEDS[name], site) for name in HOSTS]
    table.append(_gateway(NEEDS["gateway"], site))
    # Nobody needs it: while it loads, and while it is away, answers are extractive.
    table += [_server(LLM, site)] if site.record.llm else []
    return {unit.name: unit for unit in table}


def chosen(only: set[str] | None, *, workers: bool) -> tuple[str, ...]:
    """Return the units to start: all, or `only` with what brings them to use. Raises ValueError for an unknown name."""
    if only is None:
        return tuple(name for name in NAMES if workers or name not in OWN)
    if unknown := only - set(NAMES):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    wanted: set[str] = set()
    left = set(only)
    while left:
        name = left.pop()
        wanted.add(name)
        left |= set(NEEDS.get(name, ())) - wanted
    wanted |= {"topics"} if "kafka" in wanted else set()
    wanted |= {"schema"} if "postgres" in wanted else set()
    return tuple(name for name in NAMES if name in wanted)
