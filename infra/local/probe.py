"""Makes one real request to Postgres or Neo4j and ends 0 if it is answered.

    python -m infra.local.probe postgres | neo4j        reads the addresses from the environment

A process of its own: the clients cost 30 to 60 MB, which the supervisor would hold for as long as the stack runs. It
waits for the server itself, so that it starts once and not once per try.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

from infra.local.program import NotReady

PATIENCE_S = 60
PAUSE_S = 0.1


async def postgres() -> None:
    """Ask as the application's user."""
    import asyncpg

    connection = await asyncpg.connect(os.environ["POSTGRES_DSN"], timeout=5)
    try:
        await connection.fetchval("select 1")
    finally:
        await connection.close()


WARM_UP = (
    "MATCH (n:MillraceWarmUp {key: $key})-[r]-(other) RETURN type(r), other.key LIMIT 1",
    "UNWIND $rows AS row MERGE (n:MillraceWarmUp {key: row.key}) SET n += row RETURN count(n)",
    "UNWIND $rows AS row MERGE (a:MillraceWarmUp {key: row.key}) MERGE (b:MillraceWarmUp {key: row.key + '/b'}) "
    "MERGE (a)-[r:MILLRACE_WARM_UP {document: row.key}]->(b) RETURN count(r)",
    "MATCH (n:MillraceWarmUp {key: $key})-[r {document: $key}]->() DELETE r",
)
"""The shapes that the graph's own statements have: the first of each costs 0.1 to 1.5 s of planning."""


async def neo4j() -> None:
    """Ask, then warm the planner up in a transaction that is rolled back."""
    from neo4j import AsyncGraphDatabase

    login = (os.environ.get("NEO4J_USER") or "neo4j", os.environ["NEO4J_PASSWORD"])
    async with AsyncGraphDatabase.driver(os.environ["NEO4J_URI"], auth=login, connection_timeout=5) as driver:
        await driver.verify_connectivity()
        async with driver.session() as session:
            await (await session.run("RETURN 1")).consume()
            transaction = await session.begin_transaction()
            for statement in WARM_UP:
                result = await transaction.run(statement, key="warm", rows=[{"key": "warm"}])
                await result.consume()
            await transaction.rollback()


CHECKS: dict[str, Callable[[], Awaitable[None]]] = {"postgres": postgres, "neo4j": neo4j}


async def passes(name: str, environment: Mapping[str, str]) -> None:
    """Run the probe of `name` in a process of its own. Raises NotReady with the last thing it saw."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.local.probe", name),
        env=dict(os.environ) | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = output.decode(errors="replace").strip().splitlines()
        raise NotReady(words[-1][:300] if words else f"its probe ended with status {process.returncode}")


async def wait(name: str, patience_s: float = PATIENCE_S) -> str | None:
    """Ask until answered, for up to `patience_s` seconds; return the last fault, None once it is answered."""
    import logging

    logging.getLogger("neo4j").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            await CHECKS[name]()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the server does not work yet
            if time.monotonic() > deadline:
                return f"{type(fault).__name__}: {fault}"
        else:
            return None
        await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    if fault := asyncio.run(wait(sys.argv[1])):
        sys.exit(fault)
