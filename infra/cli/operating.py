"""What operators' commands stand on: Postgres, the log and the object store, directly and for all workspaces."""

import getpass
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from infra.cli.surroundings import adopt_local_stack
from infra.cli.terminal import CommandError, Status
from infra.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings, load

if TYPE_CHECKING:
    import asyncpg

    from infra.kafka.producer import Publisher
    from infra.kafka.redrive import LetterReader, RecordReader
    from infra.objects.store import ObjectStore

SOURCE = "/cli"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@asynccontextmanager
async def open_database() -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Yield a pool of the surroundings' database. Raises SettingsError, Transient."""
    from infra.postgres.pool import open_pool

    adopt_local_stack()
    async with open_pool(load(PostgresSettings)) as pool:
        yield pool


@dataclass(frozen=True, slots=True)
class Log:
    """The log for reading single records and for publishing. Nothing is connected until it is used."""

    settings: KafkaSettings
    publisher: "Publisher"
    records: "RecordReader"
    letters: "LetterReader"
    objects: "ObjectStore"


@asynccontextmanager
async def open_log() -> AsyncIterator[Log]:
    """Yield the surroundings' log. Raises SettingsError."""
    from infra.kafka.producer import Publisher
    from infra.kafka.redrive import LetterReader, RecordReader
    from infra.objects.store import ObjectStore

    adopt_local_stack()
    settings = load(KafkaSettings)
    objects = ObjectStore.open(load(ObjectStoreSettings).url)
    async with AsyncExitStack() as stack:
        publisher = await Publisher.open(settings.bootstrap, objects)
        stack.push_async_callback(publisher.close)
        records = RecordReader(settings.bootstrap)
        stack.push_async_callback(records.close)
        yield Log(settings, publisher, records, LetterReader(records, objects), objects)


async def source_id(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str | None, given: str | None) -> str | None:
    """Return the id of the source that is `given` by its id or name; what the ledger does not know stays as it is.

    Raises CommandError where several workspaces have a source of that name, and Transient.
    """
    from infra.postgres.ledger import ledger_sources

    if not given:
        return None
    found = await ledger_sources(pool, workspace, given)
    if len({each.source for each in found}) > 1:
        named = ", ".join(f"{each.source} of {each.workspace}" for each in found)
        raise CommandError(Status.USAGE, f"several sources are called {given!r}", f"name one by its id: {named}")
    return found[0].source if found else given


def operator() -> str:
    """Return the name under which this user's doings are written down."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return "cli"


def moment(text: str | None, option: str) -> datetime | None:
    """Return the time that `text` means: RFC 3339 (without a zone: UTC), or `30m`, `2h`, `7d` for ago.

    Raises CommandError.
    """
    if not text:
        return None
    if text[-1] in _UNITS and text[:-1].isascii() and text[:-1].isdigit() and len(text) <= 9:  # noqa: PLR2004 - years
        return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{option} {text!r} is no time"
        raise CommandError(Status.USAGE, message, "give 2026-01-31T12:00:00Z, or 30m, 2h, 7d for ago") from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)
