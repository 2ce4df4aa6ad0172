"""What stands in a removed thing goes with it, in any order of arrival, against the real tables."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from infra.kafka.worker import Delivery, Outgoing
from schemas.documents import DocumentVersion
from schemas.ids import document_id
from schemas.raw import RawEvent
from schemas.receipts import Receipt
from tests.deliveries import delivery, said_by
from tests.unit.workers.normalizer.arrivals import github, raw
from topics.catalogue import DOCUMENTS
from workers.normalizer import contents
from workers.normalizer.contents import Sweep, hide, pages
from workers.normalizer.gate import let_through
from workers.normalizer.normalize import normalize
from workers.normalizer.parse.parsed import Limits
from workers.normalizer.read import Tools
from workers.normalizer.worker import normalise

Pool = "asyncpg.Pool[asyncpg.Record]"


class Log:
    """Says deliveries one after the other; `present` is what a sink holds then, by the rule of all sinks."""

    def __init__(self, tools: Tools, partition: int = 0) -> None:
        self.tools = tools
        self.partition = partition
        self.at = 0
        self.records: list[DocumentVersion] = []
        self.receipts: list[Receipt] = []

    def delivery(self, name: str, **said: Any) -> Delivery[RawEvent]:
        self.at += 1
        body = {
            "id": name,
            **({} if said.get("deleted") or said.get("operation") else {"text": f"about {name}"}),
            **said,
        }
        return delivery(raw("generic", body, delivery=uuid4().hex), offset=self.at, partition=self.partition)

    async def say(self, name: str, **said: Any) -> list[int]:
        """Return the versions that were published."""
        return await self.handle([self.delivery(name, **said)])

    async def handle(self, deliveries: Sequence[Delivery[RawEvent]]) -> list[int]:
        outgoing = await said_by(await normalise(deliveries, self.tools))
        told = versions(outgoing)
        self.records += told
        self.receipts += [each.body for each in outgoing if isinstance(each.body, Receipt)]
        return [version.version for version in told]

    def present(self) -> dict[str, str]:
        held: dict[str, DocumentVersion] = {}
        for each in self.records:
            known = held.get(each.external_id)
            if known is None or rank(known) < rank(each):
                held[each.external_id] = each
            elif rank(known) == rank(each):
                assert known.text == each.text, "two texts at one version"
        return {name: each.text for name, each in held.items() if each.operation == "upsert"}


def rank(version: DocumentVersion) -> tuple[int, bool]:
    return version.version, version.operation == "delete"


def versions(outgoing: Sequence[Outgoing]) -> list[DocumentVersion]:
    bodies = [each for each in outgoing if each.topic is DOCUMENTS and not each.tombstone]
    return [each.body for each in bodies if isinstance(each.body, DocumentVersion)]


@pytest.fixture
def log(tools: Tools) -> Log:
    return Log(tools)


@pytest.fixture
def folder() -> str:
    """The name of a thing that no other test knows."""
    return f"folder-{uuid4().hex}"


async def test_a_removal_takes_along_what_stands_in_it(log: Log, folder: str) -> None:
    await log.say(folder)
    await log.say(f"{folder}/a", parent=folder, version=5)
    await log.say(f"{folder}/b", parents=[folder, f"{folder}/a"])
    await log.say(f"{folder}-other")
    await log.say(folder, deleted=True)
    assert log.present() == {f"{folder}-other": f"about {folder}-other"}
    gone = [version for version in log.records if version.operation == "delete"]
    assert {version.external_id: version.version for version in gone}[f"{folder}/a"] == 6
    receipt = log.receipts[-1]
    assert set(receipt.documents) == {version.document_id for version in gone}
    assert receipt.detail == "2 documents that stood in it went with it"


async def test_a_late_child_stays_out_until_the_thing_comes_back(log: Log, folder: str) -> None:
    await log.say(folder, deleted=True)
    late = log.delivery(f"{folder}/a", parent=folder, version=5)
    assert await log.handle([late]) == []
    assert log.receipts[-1].superseded == (document_id("acme", "src_1", f"{folder}/a"),)
    assert log.receipts[-1].detail == "1 documents stand in something that is removed"
    assert await log.say(f"{folder}/a", parent=folder, version=6) == [], "a newer state of it does as well"
    assert await log.say(folder)
    assert await log.handle([late]) == [], "a replay ends where it ended"
    assert await log.say(f"{folder}/a", parent=folder, version=6) == [6], "said again, it is there"
    assert await log.say(f"{folder}/a", parent=folder, version=6) == []


async def test_what_was_shown_before_gets_a_version_beyond_its_deletion(log: Log, folder: str) -> None:
    child = {"parent": folder, "version": 5}
    assert await log.say(f"{folder}/a", **child) == [5]
    await log.say(folder, deleted=True)
    await log.say(folder, operation="create")
    assert await log.say(f"{folder}/a", **child) == [7], "the deletion took the sixth"
    await log.say(folder, deleted=True)
    assert log.present() == {}


async def test_things_that_are_no_documents(log: Log, folder: str) -> None:
    """A channel says nothing of itself; a deletion of it is enough."""
    await log.say(f"{folder}/a", parent=folder)
    await log.say(folder, operation="create")
    await log.say(folder, deleted=True)
    assert log.present() == {}
    assert await log.say(folder, operation="create") == [], "there is nothing to publish of it"
    assert await log.say(f"{folder}/a", parent=folder)
    assert len(log.present()) == 1


async def test_at_any_depth_and_whoever_names_whom_first(log: Log, folder: str) -> None:
    inner = f"{folder}/inner"
    await log.say(f"{folder}/leaf", parent=inner)
    await log.say(folder, deleted=True)
    assert len(log.present()) == 1, "nobody has said yet that the inner one stands in the outer one"
    await log.say(inner, parent=folder)
    assert log.present() == {}, "now it is known"
    assert await log.say(f"{folder}/late", parent=inner) == []


async def test_what_moves_out_stays_and_what_moves_in_goes(log: Log, folder: str) -> None:
    await log.say(f"{folder}/a", parent=folder, version=1)
    await log.say(f"{folder}/a", parent=f"{folder}-new", version=2)
    await log.say(f"{folder}/b", version=1)
    await log.say(folder, deleted=True)
    assert len(log.present()) == 2
    assert await log.say(f"{folder}/b", parent=folder, version=2) == [2]
    assert log.records[-1].operation == "delete"
    assert list(log.present()) == [f"{folder}/a"]


async def test_what_moves_out_within_a_batch_stays(log: Log, folder: str) -> None:
    await log.say(folder, deleted=True)
    elsewhere = f"{folder}-new"
    inside, outside = (log.delivery(f"{folder}/a", parent=parent) for parent in (folder, elsewhere))
    back, further = (log.delivery(f"{folder}/b", parent=parent) for parent in (elsewhere, folder))
    batch = [inside, outside, back, further]
    await log.handle(batch)
    assert list(log.present()) == [f"{folder}/a"]
    await log.handle(batch)
    assert list(log.present()) == [f"{folder}/a"], "a redelivery ends the same"


async def test_what_moves_out_while_the_removal_is_under_way_stays(
    log: Log, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.say(f"{folder}/a", parent=folder)
    read = contents._page
    moves = [log.delivery(f"{folder}/a", parent=f"{folder}-new", text="moved")]

    async def moved_meanwhile(*given: Any) -> list[Any]:
        page = await read(*given)
        if moves:
            await log.handle([moves.pop()])
        return page

    monkeypatch.setattr(contents, "_page", moved_meanwhile)
    await log.say(folder, deleted=True)
    assert log.present() == {f"{folder}/a": "moved"}


async def test_what_is_said_again_behind_a_return_in_one_batch(log: Log, folder: str) -> None:
    await log.say(folder, deleted=True)
    await log.handle(
        [
            log.delivery(f"{folder}/a", parent=folder, text="late"),
            log.delivery(folder, text="again"),
            log.delivery(f"{folder}/a", parent=folder, text="late"),
        ]
    )
    assert log.present() == {folder: "again", f"{folder}/a": "late"}


async def test_things_that_stand_in_each_other(log: Log, folder: str) -> None:
    one, other = f"{folder}-1", f"{folder}-2"
    await log.say(one, parent=other)
    await log.say(other, parent=one)
    await log.say(one, deleted=True)
    assert log.present() == {}


async def test_removal_return_and_children_in_one_batch(log: Log, folder: str) -> None:
    batch = [
        log.delivery(folder),
        log.delivery(f"{folder}/a", parent=folder, text="first life"),
        log.delivery(folder, deleted=True),
        log.delivery(f"{folder}/b", parent=folder, text="too late"),
        log.delivery(folder, text="again"),
        log.delivery(f"{folder}/c", parent=folder, text="second life"),
    ]
    await log.handle(batch)
    assert log.present() == {folder: "again", f"{folder}/c": "second life"}
    await log.handle(batch)
    for each in batch:
        await log.handle([each])
    assert log.present() == {folder: "again", f"{folder}/c": "second life"}, "a replay ends the same"


async def test_many_children_go_a_page_at_a_time_and_a_crash_goes_on_where_it_stopped(
    log: Log, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "PAGE", 3)
    for number in range(10):
        await log.say(f"{folder}/{number}", parent=folder)
    removal = log.delivery(folder, deleted=True)
    outgoing = await normalise([removal], log.tools)
    parts = [versions(await anext(outgoing)) for _ in range(3)]
    assert [len(part) for part in parts] == [1, 3, 3]
    # The second page was made and perhaps not published when the process died, which ends the handler's work.
    await outgoing.aclose()  # type: ignore[attr-defined]
    again = versions(await said_by(await normalise([removal], log.tools)))
    repeated = {version.external_id: version.version for version in again if version.external_id != folder}
    assert len(repeated) == 7, "the first page is on the log"
    assert {version.external_id: version.version for version in parts[2]}.items() <= repeated.items()
    log.records += [version for part in parts for version in part] + again
    assert log.present() == {}


@pytest.mark.parametrize("failed", [False, True])
async def test_what_is_removed_is_last_on_the_log_though_its_child_is_still_on_its_way(
    log: Log, folder: str, *, failed: bool
) -> None:
    """Large and small records of a partition, and partitions, are at work at once: compaction keeps the last record."""
    child = await normalise([log.delivery(f"{folder}/a", parent=folder)], log.tools)
    (state,) = versions(await anext(child))
    # Behind the gate, and not acknowledged yet.
    removal = asyncio.create_task(log.handle([log.delivery(folder, deleted=True)]))
    done, _ = await asyncio.wait([removal], timeout=1)
    assert not done
    if failed:
        await child.aclose()  # type: ignore[attr-defined]
    else:
        assert [each async for each in child] == []
    assert len(await removal) == 2
    told = {version.external_id: version for version in log.records}
    assert (told[f"{folder}/a"].operation, told[f"{folder}/a"].version > state.version) == ("delete", True)


async def test_a_users_deletion_follows_what_is_on_its_way(log: Log, folder: str) -> None:
    """Under another key than the source's own deliveries: the lane orders neither."""
    first = await normalise([log.delivery(folder, version=5)], log.tools)
    (state,) = versions(await anext(first))
    event = raw("generic", operation="delete", subject=folder, after_version=state.version, delivery=uuid4().hex)
    deletion = asyncio.create_task(log.handle([delivery(event, offset=99, partition=1)]))
    done, _ = await asyncio.wait([deletion], timeout=1)
    assert not done
    assert [each async for each in first] == []
    assert await deletion == [6]


async def test_a_child_that_passes_while_the_removal_is_under_way_is_seen_by_one_of_them(
    pool: "asyncpg.Pool[asyncpg.Record]", folder: str
) -> None:
    """Two connections, every order of their steps: each commits its own row and then looks at the other's."""

    def states(body: dict[str, Any], place: tuple[int, int]) -> tuple[tuple[int, int], Any]:
        outcome = normalize(raw("generic", body, delivery=uuid4().hex), place[1], None, Limits())
        return place, outcome

    for order in ("ccrr", "crcr", "crrc", "rccr", "rcrc", "rrcc"):
        name = f"{folder}-{order}"
        child = states({"id": f"{name}/a", "text": "words", "parent": name, "version": 5}, (1, 1))
        removal = states({"id": name, "deleted": True, "version": 2}, (2, 2))
        steps = {"c": handle_child(pool, child), "r": handle_removal(pool, removal)}
        told: dict[str, list[int]] = {}
        for step in order:
            told[step] = await anext(steps[step])
        shown, removed = told["c"], told["r"]
        assert (shown, removed) in (([5], [6]), ([], []), ([], [6])), (order, shown, removed)
        row = await pool.fetchrow(
            "select gone, hidden_by from published where document_id = $1", document_id("acme", "src_1", f"{name}/a")
        )
        assert row is not None
        assert (row["gone"], row["hidden_by"]) == (True, document_id("acme", "src_1", name)), order


async def handle_child(pool: Any, child: Any) -> AsyncIterator[list[int]]:
    passed = await let_through(pool, [child])
    yield []
    ((kept,),), _ = await hide(pool, passed)
    yield [kept.version] if kept.shown else []


async def handle_removal(pool: Any, removal: Any) -> AsyncIterator[list[int]]:
    _, ((sweep,),) = await hide(pool, await let_through(pool, [removal]))
    yield []
    found = pages(pool, sweep, raw("generic", delivery=uuid4().hex))
    yield [version.version for page in [page async for page in found] for version in page]


async def test_children_and_removal_at_once(tools: Tools, folder: str) -> None:
    """Whatever meets whatever: by the rule of all sinks nothing is left."""
    logs = [Log(tools, partition) for partition in range(5)]
    said = [log.say(f"{folder}/{log.partition}-{number}", parent=folder) for log in logs for number in range(10)]
    removing = Log(tools, 5)
    await asyncio.gather(*said[:25], removing.say(folder, deleted=True), *said[25:])
    logs[0].records += [each for log in [*logs[1:], removing] for each in log.records]
    assert logs[0].present() == {}


async def test_a_sweep_of_nothing(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    sweep = Sweep(UUID(int=5), UUID(int=5), 9)
    assert [page async for page in pages(pool, sweep, raw("generic"))] == []


async def test_any_order_with_repetitions_ends_the_same(tools: Tools) -> None:
    """A thing and what stands in it, at two depths, with equal numbers, other texts and deletions of their own."""
    chance = random.Random(14)
    for _ in range(25):
        folder = f"folder-{uuid4().hex}"
        logs = [Log(tools, partition) for partition in range(3)]
        inner, leaf, other = f"{folder}/inner", f"{folder}/leaf", f"{folder}-other"
        events = [
            logs[0].delivery(folder, version=1),
            logs[0].delivery(folder, version=2, text="another text"),
            logs[0].delivery(folder, version=5, deleted=True),
            logs[1].delivery(inner, parent=folder, version=3),
            logs[1].delivery(inner, parent=folder, version=3, text="another text"),
            logs[2].delivery(leaf, parents=[folder, inner], version=7, text="A"),
            logs[2].delivery(leaf, parents=[folder, inner], version=8, text="B"),
            logs[2].delivery(leaf, parents=[folder, inner], version=9, text="A"),
            logs[2].delivery(other, version=1, text="stays, at first so"),
            logs[2].delivery(other, version=1, text="stays"),
        ]
        order = [*events, *chance.sample(events, 4)]
        chance.shuffle(order)
        told = Log(tools)
        while order:
            batch = [order.pop() for _ in range(min(len(order), chance.randint(1, 4)))]
            await told.handle(batch)
        assert told.present() == {other: "stays"}
        before = len(told.records)
        for event in events:
            await told.handle([event])
        assert told.present() == {other: "stays"}, "a replay ends the same"
        words: dict[str, DocumentVersion] = {each.external_id: each for each in told.records[before:]}
        assert all(each.operation == "delete" for name, each in words.items() if name != other)


async def test_a_deleted_issue_takes_its_comments_along(tools: Tools) -> None:
    """GitHub says one thing of all of them, in any order; a repository that goes says nothing of its issues either."""
    for order in itertools.permutations(range(3)):
        log = Log(tools)
        number = uuid4().int % 10**9
        repository = {"id": number, "full_name": "lower-weir/ops"}

        def issue(at: str, number: int = number) -> dict[str, Any]:
            return {
                "id": number,
                "number": 77,
                "title": "Gate",
                "body": "bravotine",
                "updated_at": at,
                "created_at": at,
            }

        comment = {"id": number, "body": "It is xantrofile-77.", "updated_at": "2031-02-03T08:05:00Z"}
        told: list[tuple[str, dict[str, Any]]] = [
            ("issues", {"action": "opened", "issue": issue("2031-02-03T08:00:00Z")}),
            ("issue_comment", {"action": "created", "issue": issue("2031-02-03T08:05:00Z"), "comment": comment}),
            ("issues", {"action": "deleted", "issue": issue("2031-02-03T08:10:00Z")}),
        ]
        for at in order:
            event, body = told[at]
            arrived = github(event, {**body, "repository": repository}, delivery=uuid4().hex)
            await log.handle([delivery(arrived, offset=at, partition=at % 2)])
        assert log.present() == {}, order
        opened = {
            "action": "opened",
            "repository": repository,
            "issue": {**issue("2031-02-03T09:00:00Z"), "id": number + 1},
        }
        await log.handle([delivery(github("issues", opened, delivery=uuid4().hex), offset=10)])
        assert len(log.present()) == 1
        gone = {"action": "deleted", "repository": {**repository, "updated_at": "2031-02-03T10:00:00Z"}}
        await log.handle([delivery(github("repository", gone, delivery=uuid4().hex), offset=11, partition=3)])
        assert log.present() == {}


async def test_a_repository_that_becomes_private_goes_on_with_what_comes_later(log: Log) -> None:
    number = uuid4().int % 10**9
    repository = {"id": number, "full_name": "lower-weir/ops", "updated_at": "2031-02-03T10:00:00Z"}

    async def say(event: str, **body: Any) -> None:
        log.at += 1
        arrived = github(event, {"repository": repository, **body}, delivery=uuid4().hex)
        await log.handle([delivery(arrived, offset=log.at)])

    def issue(identity: int, at: str) -> dict[str, Any]:
        return {"id": identity, "number": 1, "title": "t", "body": at, "updated_at": at, "created_at": at}

    await say("issues", action="opened", issue=issue(number, "2031-02-03T09:00:00Z"))
    await say("repository", action="privatized")
    assert log.present() == {}
    await say("issues", action="opened", issue=issue(number + 1, "2031-02-03T09:30:00Z"))
    assert log.present() == {}, "a late one of what was public"
    await say("issues", action="opened", issue=issue(number + 2, "2031-02-03T11:00:00Z"))
    assert list(log.present().values()) == ["2031-02-03T11:00:00Z"]
