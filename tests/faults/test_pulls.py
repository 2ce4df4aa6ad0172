"""A source that changed and whose notice never came: the scheduled pull finds it."""

import pytest

from schemas.documents import DocumentVersion
from tests.faults.arena import Arena
from tests.faults.invariants import L, R, once
from tests.faults.running import Running, ending, host, hosting
from tests.faults.test_gateway import tenant_of
from tests.live.workers.connectors.site import Site, serve
from topics.catalogue import DOCUMENTS, RAW_EVENTS

EVERY_S = 5
"""The shortest interval between pulls."""
ITEM = "<item><guid>{guid}</guid><title>{title}</title><description>{text}</description></item>"


def feed(**items: str) -> bytes:
    listed = "".join(ITEM.format(guid=guid, title=guid.title(), text=text) for guid, text in items.items())
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>Mill</title>{listed}</channel></rss>'.encode()


@pytest.mark.fault(22)
@pytest.mark.slow
async def test_a_change_that_nobody_told_of_is_found_by_the_next_pull(
    arena: Arena, mill: Running, door: Running, workspace: str
) -> None:
    told = arena.environment | {"MILLRACE_ALLOW_PRIVATE_FETCH": "true", "MILLRACE_PULL_POLL_SECONDS": "0.2"}
    tenant = await tenant_of(arena, door, workspace)
    async with tenant.client, serve() as site:
        site.body = feed(wheel="The wheel turns.", sluice="The sluice is shut.")
        config = {"url": site.url(), "interval_s": EVERY_S}
        await tenant.post("/v1/sources", {"name": "news", "connector": "feed", "config": config})
        async with hosting(told, arena.folder, "connectors") as running:
            async with R(25) as recovery:
                await recovery.until(lambda: shows(arena, workspace, "The wheel turns.", "The sluice is shut."))
            # What the publisher would now tell us of, no hook of ours ever hears; and the one who looks dies.
            await running.kill()
        await change(site)
        second = host(told, arena.folder, "connectors")
        async with ending(second):
            await second.ready()
            async with R(3 * EVERY_S + 20) as recovery:
                await recovery.until(lambda: shows(arena, workspace, "The sluice is open.", "A new stone."))
        documents = await arena.sinks.bodies(DOCUMENTS, workspace)
        await L(arena.sinks, documents)
        events = await arena.sinks.bodies(RAW_EVENTS, workspace)
        once(event.event_id for event in events)
        assert len(events) == 2, "one event for each state of the feed"
        assert len({version.document_id for version in documents}) == 3
        assert await tenant.passages("Is the sluice open?")


async def change(site: Site) -> None:
    site.body = feed(wheel="The wheel turns.", sluice="The sluice is open.", stone="A new stone.")
    site.etag = '"v2"'


async def shows(arena: Arena, workspace: str, *texts: str) -> bool:
    """Whether these texts stand in the index, in documents whose newest version every sink holds."""
    documents: list[DocumentVersion] = await arena.sinks.bodies(DOCUMENTS, workspace)
    await L(arena.sinks, documents)
    held = " ".join(point["text"] for point in await arena.sinks.vectors(workspace) if point["part"] == "chunk")
    return all(text in held for text in texts)
