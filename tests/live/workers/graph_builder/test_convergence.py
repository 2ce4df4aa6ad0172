"""Whatever the order in which versions arrive, the graph ends as after a serial run."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations
from uuid import UUID, uuid4

import pytest
from neo4j import AsyncTransaction

from infra.neo4j.client import GraphDriver
from schemas.documents import DocumentVersion, Entity, Relation
from tests.deliveries import delivery
from tests.events import document
from tests.eventually import eventually
from tests.graphs import digest
from workers.graph_builder.worker import Tools, build

FIRST, SECOND = UUID(int=1), UUID(int=2)


def person(name: str, called: str = "") -> Entity:
    key = f"person:x:{name}"
    return Entity(key=key, kind="person", name=called or name, aliases=(name,), url=f"https://example.org/{name}")


def version(
    workspace: str, document_id: UUID, number: int, people: Sequence[Entity], links: int = 0
) -> DocumentVersion:
    """Return a version in which each person KNOWS the next; no people make a deletion."""
    keys = [entity.key for entity in people]
    return document(
        f"Version {number}." if people else "",
        workspace=workspace,
        version=number,
        document_id=document_id,
        event_id=UUID(int=number),
        title=f"v{number}",
        url=f"https://example.org/{document_id}",
        entities=tuple(people),
        relations=tuple(Relation(subject=one, predicate="KNOWS", object=other) for one, other in pairwise(keys)),
        links=tuple(f"https://example.org/page/{number + link}" for link in range(links)),
    )


async def feed(tools: Tools, batches: Iterable[Sequence[DocumentVersion]]) -> None:
    for batch in batches:
        await build([delivery(body) for body in batch], tools)


ANN, BOB, CYD = person("ann"), person("bob"), person("cyd")


def ended_by_a_deletion(workspace: str) -> list[DocumentVersion]:
    created = version(workspace, FIRST, 1, [ANN, BOB], links=2)
    updated = version(workspace, FIRST, 2, [BOB, CYD], links=1)
    return [created, updated, updated, version(workspace, FIRST, 3, [])]


def ended_by_an_update(workspace: str) -> list[DocumentVersion]:
    created = version(workspace, FIRST, 1, [ANN, BOB], links=2)
    return [created, version(workspace, FIRST, 2, []), created, version(workspace, FIRST, 3, [CYD, BOB], links=2)]


def two_documents_that_share_entities(workspace: str) -> list[DocumentVersion]:
    return [
        version(workspace, FIRST, 4, [person("ann", "Ann of the first"), BOB]),
        version(workspace, FIRST, 9, []),
        version(workspace, SECOND, 5, [person("ann", "Ann of the second"), CYD]),
        version(workspace, SECOND, 7, [person("ann", "Ann, later"), BOB]),
    ]


@pytest.mark.parametrize("history", [ended_by_a_deletion, ended_by_an_update, two_documents_that_share_entities])
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in pairs"])
async def test_every_order_ends_as_the_serial_run(
    graph: GraphDriver, tools: Tools, history: object, together: bool
) -> None:
    assert callable(history)
    serial = f"w{uuid4().hex}"
    await feed(tools, [[body] for body in history(serial)])
    expected = await digest(graph, serial)
    for order in permutations(range(4)):
        workspace = f"w{uuid4().hex}"
        bodies = [history(workspace)[position] for position in order]
        await feed(tools, [bodies[:2], bodies[2:]] if together else [[body] for body in bodies])
        assert await digest(graph, workspace) == expected, order


async def test_the_serial_run_itself_is_what_was_said(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    await feed(tools, [[body] for body in two_documents_that_share_entities(workspace)])
    statement = "MATCH (e:Entity {workspace: $workspace}) RETURN e.name AS name ORDER BY name"
    rows = await graph.read(statement, {"workspace": workspace})
    assert [row["name"] for row in rows] == ["Ann, later", "bob"]
    edges = "MATCH (a:Entity {workspace: $workspace})-[r:RELATED]->(b) RETURN a.key AS a, b.key AS b, r.version AS v"
    assert await graph.read(edges, {"workspace": workspace}) == [{"a": "person:x:ann", "b": "person:x:bob", "v": 7}]
    tombstone = "MATCH (d:Document {workspace: $workspace, deleted: true}) RETURN d.document AS d, d.version AS v"
    assert await graph.read(tombstone, {"workspace": workspace}) == [{"d": str(FIRST), "v": 9}]


async def test_a_name_falls_back_to_the_newest_statement_that_is_left(
    graph: GraphDriver, tools: Tools, workspace: str
) -> None:
    bodies = [
        version(workspace, FIRST, 5, [person("ann", "Ann five")]),
        version(workspace, SECOND, 3, [person("ann", "Ann three")]),
        version(workspace, FIRST, 6, [BOB]),
    ]
    await feed(tools, [[body] for body in bodies])
    names = "MATCH (e:Entity {workspace: $workspace}) RETURN e.name AS name ORDER BY name"
    assert [row["name"] for row in await graph.read(names, {"workspace": workspace})] == ["Ann three", "bob"]


def histories(workspace: str, seed: int) -> list[DocumentVersion]:
    """Return three versions each of 20 documents over 8 people, in the order of their versions."""
    draw = random.Random(seed)
    people = [person(f"p{number}") for number in range(8)]
    return [
        version(workspace, UUID(int=document_number), number, draw.sample(people, draw.choice([0, 2, 3, 5])), links=2)
        for number in (1, 2, 3)
        for document_number in range(1, 21)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_concurrent_transactions_over_the_same_people_lose_nothing(
    graph: GraphDriver, tools: Tools, seed: int
) -> None:
    serial, parallel = f"w{uuid4().hex}", f"w{uuid4().hex}"
    await feed(tools, [histories(serial, seed)])
    bodies = histories(parallel, seed)
    random.Random(seed).shuffle(bodies)
    batches = [bodies[start : start + 3] for start in range(0, len(bodies), 3)]
    lanes = [batches[lane::6] for lane in range(6)]
    await asyncio.gather(*(feed(tools, lane) for lane in lanes))
    assert await digest(graph, parallel) == await digest(graph, serial)


async def test_an_entity_that_vanishes_while_its_lock_is_awaited_is_made_anew(
    graph: GraphDriver, tools: Tools, workspace: str
) -> None:
    await feed(tools, [[version(workspace, FIRST, 1, [ANN], links=1)]])
    removed = asyncio.Event()

    async def waits() -> bool:
        statement = "SHOW TRANSACTIONS YIELD status, currentQuery AS q WHERE status STARTS WITH 'Blocked' RETURN q"
        return any("SET e.lock" in row["q"] for row in await graph.read(statement, {}))

    async def remove(transaction: AsyncTransaction) -> None:
        statement = "MATCH (e:Entity {workspace: $workspace}) DETACH DELETE e"
        await (await transaction.run(statement, {"workspace": workspace})).consume()
        removed.set()
        await eventually(waits)

    async def state() -> None:
        await removed.wait()
        await feed(tools, [[version(workspace, SECOND, 1, [ANN, BOB])]])

    await asyncio.gather(graph.write(remove), state())
    statement = "MATCH (:Document {workspace: $workspace})-[:STATES]->(e) RETURN e.key AS key ORDER BY key"
    assert await graph.read(statement, {"workspace": workspace}) == [{"key": ANN.key}, {"key": BOB.key}]
