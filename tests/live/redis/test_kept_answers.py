"""Kept answers on a real server: bounds, expiry, and that a deleted document leaves nothing behind."""

import asyncio
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.redis.client import open_redis
from infra.redis.kept_answers import LARGEST_BYTES, MARK_TTL_S, PREFIX, Changed, KeptAnswers
from tests.eventually import eventually
from tests.valkey import Valkey

A, B = UUID(int=1), UUID(int=2)


@pytest.fixture
def workspace() -> str:
    return f"w{uuid4().hex[:12]}"


async def keep(
    kept: KeptAnswers, workspace: str, name: str, documents: dict[UUID, int], *, ttl_s: int = 60, most: int = 10
) -> bool:
    return await kept.keep(workspace, name, name.encode(), documents, ttl_s=ttl_s, most=most)


async def everything(client: Redis, workspace: str) -> bytes:
    """Return all that the server holds of a workspace, keys and values."""
    found = b""
    async for key in client.scan_iter(f"{PREFIX}:*{workspace}*"):
        kind = await client.type(key)
        found += key
        if kind == b"hash":
            found += b"".join(part for pair in (await client.hgetall(key)).items() for part in pair)
        elif kind == b"zset":
            found += b"".join(await client.zrange(key, 0, -1))
    return found


async def test_entries_belong_to_their_workspace(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    assert await keep(kept, workspace, "one", {A: 1})
    assert await kept.entries(workspace) == [b"one"]
    for other in (f"{workspace}x", workspace[:-1], f"{workspace}:entries", "*"):
        assert await kept.entries(other) == []
        assert await kept.forget(other, [Changed(A, 9, deleted=True)]) == 0
    assert await kept.entries(workspace) == [b"one"]


async def test_a_deleted_document_leaves_no_trace_of_what_was_made_of_it(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    await keep(kept, workspace, "of-both", {A: 1, B: 7})
    await keep(kept, workspace, "of-b", {B: 7})
    assert await kept.forget(workspace, [Changed(A, 2, deleted=True)]) == 1
    assert await kept.entries(workspace) == [b"of-b"]
    assert b"of-both" not in await everything(client, workspace)
    assert await kept.forget(workspace, [Changed(A, 2, deleted=True)]) == 0


async def test_an_answer_that_was_under_way_at_the_deletion_is_refused(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    await kept.forget(workspace, [Changed(A, 5, deleted=True), Changed(A, 3, deleted=True)])
    for version in (4, 5):
        assert not await keep(kept, workspace, "late", {B: 1, A: version})
    assert b"late" not in await everything(client, workspace)
    assert await keep(kept, workspace, "of-the-new", {A: 6})
    ttl = await client.ttl(f"{PREFIX}:{{{workspace}}}:gone:{A}")
    assert MARK_TTL_S - 60 < ttl <= MARK_TTL_S


async def test_deletions_and_late_answers_at_once_leave_nothing(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    for version in range(1, 41):
        await asyncio.gather(
            *(keep(kept, workspace, f"{version}-{turn}", {A: version}) for turn in range(3)),
            kept.forget(workspace, [Changed(A, version, deleted=True)]),
            *(keep(kept, workspace, f"{version}-{turn}", {A: version}) for turn in range(3, 6)),
        )
    assert await kept.entries(workspace) == []


async def test_a_new_version_removes_what_was_made_of_older_ones_alone(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    await keep(kept, workspace, "old", {A: 1})
    await keep(kept, workspace, "new", {A: 2})
    assert await kept.forget(workspace, [Changed(A, 2, deleted=False)]) == 1
    assert await kept.entries(workspace) == [b"new"]
    assert await keep(kept, workspace, "older", {A: 1})


async def test_the_oldest_make_room_and_the_large_are_refused(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    for number in range(5):
        await keep(kept, workspace, f"n{number}", {A: 1}, ttl_s=60 + number, most=3)
    assert sorted(await kept.entries(workspace)) == [b"n2", b"n3", b"n4"]
    assert not await keep(kept, workspace, "x" * (LARGEST_BYTES + 1), {A: 1})
    assert b"n0" not in await everything(client, workspace)


async def test_entries_expire_and_leave_the_server(client: Redis, workspace: str) -> None:
    kept = KeptAnswers(client)
    await keep(kept, workspace, "short", {A: 1}, ttl_s=1)
    await keep(kept, workspace, "long", {A: 1}, ttl_s=60)

    async def gone() -> bool:
        return await kept.entries(workspace) == [b"long"]

    await eventually(gone)
    await keep(kept, workspace, "next", {A: 1})
    assert b"short" not in await everything(client, workspace)


async def test_a_server_that_is_away_is_said(own_valkey: Valkey) -> None:
    async with open_redis(own_valkey.settings()) as client:
        await own_valkey.stop()
        kept = KeptAnswers(client)
        with pytest.raises(Transient):
            await kept.entries("acme")
        with pytest.raises(Transient):
            await kept.forget("acme", [Changed(A, 1, deleted=True)])
        with pytest.raises(Transient):
            await keep(kept, "acme", "one", {A: 1})
        await own_valkey.start()
