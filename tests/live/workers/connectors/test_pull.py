"""Scheduled pulls: real Postgres, a real server, and who may publish what when."""

import asyncio
from hashlib import sha256
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from infra.errors import Transient
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime
from infra.objects.store import ObjectStore
from tests.eventually import eventually
from tests.live.workers.connectors.conftest import Log, tools_on
from tests.live.workers.connectors.site import FEED, Site
from topics.catalogue import RAW_EVENTS
from workers.connectors.pull import Tools, pull_due
from workers.connectors.worker import open_tools, worker

Pool = "asyncpg.Pool[asyncpg.Record]"


async def register(pool: Pool, workspace: str, **config: Any) -> str:
    source = f"src_{uuid4().hex[:10]}"
    await pool.execute(
        "insert into sources (source_id, workspace, connector, name, config) values ($1, $2, 'feed', $1, $3)",
        source,
        workspace,
        {"interval_s": 60, **config},
    )
    await pool.execute("insert into source_pulls (source_id) values ($1)", source)
    return source


async def row(pool: Pool, source: str) -> asyncpg.Record:
    found = await pool.fetchrow(
        "select *, extract(epoch from next_at - now())::float as wait from source_pulls where source_id = $1", source
    )
    assert found is not None
    return found


async def due_again(pool: Pool, source: str) -> None:
    await pool.execute("update source_pulls set next_at = now() where source_id = $1", source)


async def test_a_changed_feed_is_published_once(tools: Tools, log: Log, site: Site, workspace: str) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    assert await pull_due(tools, log.publish) == 1
    (event,) = log.events
    assert (event.workspace, event.source, event.connector) == (workspace, source, "feed")
    assert event.body == FEED
    assert event.delivery == f"{sha256(FEED).hexdigest()}/1"
    assert event.attributes == {"url": site.url()}
    stored = await row(tools.pool, source)
    assert stored["state"]["etag"] == '"v1"'
    assert stored["last_error"] is None
    assert 55 < stored["wait"] <= 60
    assert await pull_due(tools, log.publish) == 0, "not due yet"

    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    assert site.requests[-1]["if-none-match"] == '"v1"'
    assert len(log.events) == 1, "unchanged"

    site.body, site.etag = FEED.replace(b"Sunday", b"Monday"), '"v2"'
    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    assert len(log.events) == 2
    assert log.events[1].event_id != log.events[0].event_id


async def test_a_feed_that_goes_back_to_what_it_said_says_something_new(
    tools: Tools, log: Log, site: Site, workspace: str
) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    site.etag = ""
    for body in (FEED, FEED.replace(b"Sunday", b"Monday"), FEED):
        site.body = body
        await due_again(tools.pool, source)
        await pull_due(tools, log.publish)
    assert len({event.event_id for event in log.events}) == 3
    # As after a crash between the publication and the memory of it.
    state = (await row(tools.pool, source))["state"]
    await tools.pool.execute(
        "update source_pulls set state = $2 where source_id = $1", source, state | {"turn": 2, "sha256": ""}
    )
    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    assert log.events[3].event_id == log.events[2].event_id


async def test_a_server_without_validators(tools: Tools, log: Log, site: Site, workspace: str) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    site.etag = ""
    for _ in range(3):
        await due_again(tools.pool, source)
        await pull_due(tools, log.publish)
    assert len(log.events) == 1


async def test_a_new_address_is_fetched_without_the_old_validators(
    tools: Tools, log: Log, site: Site, workspace: str
) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    await pull_due(tools, log.publish)
    moved = {"url": site.url("/feed.xml?moved=1"), "interval_s": 60}
    await tools.pool.execute("update sources set config = $2 where source_id = $1", source, moved)
    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    assert "if-none-match" not in site.requests[-1]


async def test_failures_are_seen_and_wait_longer(tools: Tools, log: Log, site: Site, workspace: str) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    waits = []
    for _ in range(3):
        site.statuses = [404]
        await due_again(tools.pool, source)
        await pull_due(tools, log.publish)
        waits.append(round((await row(tools.pool, source))["wait"]))
    failed = await row(tools.pool, source)
    assert failed["last_error"] == "HTTP 404"
    assert failed["failures"] == 3
    assert waits == [120, 240, 480]
    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    healed = await row(tools.pool, source)
    assert (healed["failures"], healed["last_error"]) == (0, None)
    assert len(log.events) == 1


@pytest.mark.parametrize("config", [{}, {"url": 5}, {"url": "file:///etc/passwd"}])
async def test_a_source_without_a_usable_address(
    tools: Tools, log: Log, workspace: str, config: dict[str, Any]
) -> None:
    source = await register(tools.pool, workspace, **config)
    await pull_due(tools, log.publish)
    assert (await row(tools.pool, source))["last_error"]
    assert not log.events


async def test_inner_addresses_need_permission(pool: Pool, log: Log, site: Site, workspace: str) -> None:
    source = await register(pool, workspace, url=site.url())
    await pull_due(tools_on(pool, allow_private=False), log.publish)
    assert "private network" in (await row(pool, source))["last_error"]
    assert not site.requests


async def test_nothing_is_remembered_before_the_broker_has_it(
    tools: Tools, log: Log, site: Site, workspace: str
) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    log.fails_with = Transient("kafka", "no acknowledgement")
    with pytest.raises(Transient):
        await pull_due(tools, log.publish)
    stored = await row(tools.pool, source)
    assert stored["state"] == {}
    assert "kafka" in stored["last_error"]
    log.fails_with = None
    await due_again(tools.pool, source)
    await pull_due(tools, log.publish)
    assert len(log.events) == 1


async def test_two_instances_share_the_sources(tools: Tools, pool: Pool, log: Log, site: Site, workspace: str) -> None:
    for number in range(24):
        source = await register(pool, workspace, url=site.url(f"/feed.xml?n={number}"))
        if number % 3 == 0:
            await pool.execute("delete from source_pulls where source_id = $1", source)
    # Every instance takes four at a time, and all look at once.
    await asyncio.gather(*(pull_due(tools_on(pool), log.publish) for _ in range(8)))
    while await pull_due(tools, log.publish):
        pass
    assert len(log.events) == 24
    assert len({event.source for event in log.events}) == 24
    assert len(site.requests) == 24


async def test_a_pull_that_outlived_its_lease_changes_nothing(
    tools: Tools, log: Log, site: Site, workspace: str
) -> None:
    source = await register(tools.pool, workspace, url=site.url())

    async def losing_the_lease(*arguments: Any) -> None:
        await tools.pool.execute(
            "update source_pulls set next_at = now() + interval '9 hours' where source_id = $1", source
        )

    await pull_due(tools, losing_the_lease)
    stored = await row(tools.pool, source)
    assert stored["state"] == {}
    assert stored["wait"] > 8 * 3_600


async def test_disabled_and_foreign_sources_are_left_alone(tools: Tools, log: Log, site: Site, workspace: str) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    await tools.pool.execute("update sources set enabled = false where source_id = $1", source)
    await tools.pool.execute(
        "insert into sources (source_id, workspace, connector, name) values ($1, $2, 'github', $1)",
        uuid4().hex,
        workspace,
    )
    assert await pull_due(tools, log.publish) == 0


async def test_a_source_without_a_schedule_row_gets_one(tools: Tools, log: Log, site: Site, workspace: str) -> None:
    source = await register(tools.pool, workspace, url=site.url())
    await tools.pool.execute("delete from source_pulls where source_id = $1", source)
    assert await pull_due(tools, log.publish) == 1
    assert await pull_due(tools, log.publish) == 0
    assert [event.source for event in log.events] == [source]


async def test_the_worker_on_the_log(  # noqa: PLR0917 - fixtures
    pool: Pool,
    kafka: dict[str, str],
    site: Site,
    workspace: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = await register(pool, workspace, url=site.url())
    connected = pool._connect_args[0]
    monkeypatch.setenv("POSTGRES_DSN", connected)
    monkeypatch.setenv("MILLRACE_ALLOW_PRIVATE_FETCH", "true")
    monkeypatch.setenv("MILLRACE_PULL_POLL_SECONDS", "0.1")
    objects = ObjectStore.open(f"file://{tmp_path}")
    bootstrap = kafka["KAFKA_BOOTSTRAP_SERVERS"].split(",")
    publisher = await Publisher.open(bootstrap, objects)
    runtime = Runtime(worker, bootstrap, publisher, objects)
    running = asyncio.create_task(runtime.run())
    try:

        async def pulled() -> bool:
            return bool((await row(pool, source))["state"].get("sha256"))

        await eventually(pulled, within=30)
    finally:
        runtime.stop()
        await running
        await publisher.close()
    assert [topic.name for topic in worker.publishes] == [RAW_EVENTS.name]


async def test_tools_open_without_any_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    async with open_tools() as opened:
        with pytest.raises(Transient):
            await pull_due(opened, Log().publish)
