"""Pulls sources that do not send by themselves.

consumes   nothing: a schedule in Postgres says which source is due
publishes  raw.events  one per changed state of a source
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.kafka.worker import Worker
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings, load
from topics.catalogue import RAW_EVENTS
from workers.connectors.fetch import Fetcher
from workers.connectors.pull import Tools, pull_for_ever
from workers.connectors.settings import ConnectorsSettings


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open the schedule and the fetcher; both connect with first use."""
    settings = load(ConnectorsSettings)
    fetcher = Fetcher(
        max_bytes=settings.fetch_bytes,
        seconds=settings.fetch_seconds,
        allow_private=settings.allow_private_fetch,
    )
    async with open_pool(load(PostgresSettings)) as pool:
        yield Tools(pool, fetcher, settings)


worker = Worker("connectors", tools=open_tools, publishes=(RAW_EVENTS,), background=pull_for_ever)
