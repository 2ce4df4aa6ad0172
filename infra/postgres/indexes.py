"""Registry of derived indexes: which collection holds which model's vectors, and which one answers questions."""

from dataclasses import dataclass
from typing import Literal

import asyncpg

from infra.errors import Transient
from infra.postgres.pool import DEPENDENCY, translated
from infra.settings import SettingsError

State = Literal["building", "shadow", "live", "retired"]


class IndexMismatchError(SettingsError):
    """The index is registered with another model or dimension: writing to it would mix vectors of two spaces."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index: queries to it are encoded with `model`, whose vectors have `dimension` components."""

    index_id: str
    collection: str
    model: str
    dimension: int
    state: State = "building"


@translated
async def live(pool: "asyncpg.Pool[asyncpg.Record]") -> Index:
    """Return the index that answers questions. Raises Transient while no embedder has registered one."""
    row = await pool.fetchrow("select * from indexes where state = 'live'")
    if row is None:
        raise Transient(DEPENDENCY, "no index is live yet: an embedder registers the first one when it starts")
    return _index(row)


@translated
async def get(pool: "asyncpg.Pool[asyncpg.Record]", index_id: str) -> Index | None:
    """Return the index called `index_id`, None if it is not registered. Raises Transient."""
    row = await pool.fetchrow("select * from indexes where index_id = $1", index_id)
    return _index(row) if row else None


async def register(pool: "asyncpg.Pool[asyncpg.Record]", index: Index) -> Index:
    """Return the registered row of `index`, made now if it is new; `index.state` is not looked at.

    The first index of an installation becomes live, a later one is `building` until an operator switches. Callers may
    race and call again. Raises IndexMismatchError if it is registered with another model, dimension or collection, and
    Transient.
    """
    await _insert(pool, index)
    found = await get(pool, index.index_id)
    if found is None:
        raise IndexMismatchError(
            f"collection {index.collection} belongs to another index than {index.index_id}: give this one a collection "
            "of its own (MILLRACE_INDEX_COLLECTION)"
        )
    _check(found, index)
    return found


@translated
async def _insert(pool: "asyncpg.Pool[asyncpg.Record]", index: Index) -> None:
    async with pool.acquire() as connection, connection.transaction():
        # One writer at a time decides which index is the first; `on conflict` alone lets two see an empty table.
        await connection.execute("lock table indexes in share row exclusive mode")
        await connection.execute(
            """
            insert into indexes (index_id, collection, model, dimension, state)
            select $1, $2, $3, $4,
                   case when exists (select from indexes where state = 'live') then 'building' else 'live' end
            on conflict do nothing
            """,
            index.index_id,
            index.collection,
            index.model,
            index.dimension,
        )


def _check(found: Index, wanted: Index) -> None:
    if (found.model, found.dimension, found.collection) == (wanted.model, wanted.dimension, wanted.collection):
        return
    raise IndexMismatchError(
        f"index {found.index_id} is registered as {found.model}, {found.dimension} dimensions, in {found.collection}; "
        f"MILLRACE_ENCODER gives {wanted.model}, {wanted.dimension}, for {wanted.collection}. Either set "
        "MILLRACE_ENCODER back to that model, or set MILLRACE_INDEX_ID to a new name: a new index fills itself from "
        "the start of the log beside the old one"
    )


def _index(row: asyncpg.Record) -> Index:
    return Index(row["index_id"], row["collection"], row["model"], row["dimension"], row["state"])
