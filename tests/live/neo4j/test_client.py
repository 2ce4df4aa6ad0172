import asyncio
from typing import Any

import pytest
from neo4j import AsyncTransaction

from infra.errors import Permanent, Transient
from infra.neo4j import graph as read
from infra.neo4j.client import Contention, GraphDriver, open_driver
from infra.neo4j.schema import ensure
from infra.settings import Neo4jSettings
from workers.graph_builder import store as written


async def run(transaction: AsyncTransaction, statement: str, **parameters: Any) -> None:
    await (await transaction.run(statement, parameters)).consume()


async def test_opposing_transactions_both_pass(graph: GraphDriver, workspace: str) -> None:
    first, second = f"{workspace}/a", f"{workspace}/b"
    meeting = asyncio.Barrier(2)
    runs = 0

    async def lock(transaction: AsyncTransaction, *nodes: str) -> None:
        nonlocal runs
        runs += 1
        meet = runs <= 2
        for node in nodes:
            statement = "MERGE (e:Entity {id: $id}) ON CREATE SET e.times = 0 SET e.lock = 0 SET e.times = e.times + 1"
            await run(transaction, statement, id=node)
            if meet and node == nodes[0]:
                await meeting.wait()

    await asyncio.gather(
        graph.write(lambda transaction: lock(transaction, first, second)),
        graph.write(lambda transaction: lock(transaction, second, first)),
    )
    assert runs > 2, "no deadlock: the test proves nothing"
    rows = await graph.read("MATCH (e:Entity) WHERE e.id IN $ids RETURN e.times AS times", {"ids": [first, second]})
    assert [row["times"] for row in rows] == [2, 2]


async def test_contention_that_never_ends_is_told(graph: GraphDriver) -> None:
    attempts = 0

    async def hopeless(_: AsyncTransaction) -> None:
        nonlocal attempts
        attempts += 1
        raise Contention("neo4j", "Neo.TransientError.Transaction.DeadlockDetected")

    with pytest.raises(Contention):
        await graph.write(hopeless)
    assert attempts > 2


async def test_a_failed_transaction_writes_nothing(graph: GraphDriver, workspace: str) -> None:
    async def fail(transaction: AsyncTransaction) -> None:
        await run(transaction, "CREATE (:Entity {id: $id})", id=f"{workspace}/a")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await graph.write(fail)
    assert await graph.read("MATCH (e:Entity {id: $id}) RETURN e", {"id": f"{workspace}/a"}) == []


async def test_identity_is_a_constraint(graph: GraphDriver, workspace: str) -> None:
    async def twice(transaction: AsyncTransaction) -> None:
        await run(transaction, "UNWIND [1, 2] AS n CREATE (:Entity {id: $id})", id=f"{workspace}/a")

    with pytest.raises(Permanent):
        await graph.write(twice)


async def test_any_number_may_prepare_the_schema_at_once(graph: GraphDriver) -> None:
    await asyncio.gather(*(ensure(graph) for _ in range(4)))
    rows = await graph.read("SHOW CONSTRAINTS YIELD name RETURN collect(name) AS names", {})
    assert {"document_id", "entity_id", "page_id"} <= set(rows[0]["names"])


async def test_an_index_that_a_crash_left_without_its_constraint_is_made_anew(graph: GraphDriver) -> None:
    """A server killed within CREATE CONSTRAINT keeps the index that it had made for it, and refuses the constraint."""

    async def leave(transaction: AsyncTransaction) -> None:
        await run(transaction, "DROP CONSTRAINT page_id")

    async def index(transaction: AsyncTransaction) -> None:
        await run(transaction, "CREATE INDEX page_id FOR (p:Page) ON (p.id)")

    await graph.write(leave)
    await graph.write(index)
    with pytest.raises(Transient, match="IndexWithNameAlreadyExists"):
        await graph.write(
            lambda transaction: run(
                transaction, "CREATE CONSTRAINT page_id IF NOT EXISTS FOR (p:Page) REQUIRE p.id IS UNIQUE"
            )
        )
    await asyncio.gather(*(ensure(graph) for _ in range(8)))
    owned = "SHOW INDEXES YIELD name, owningConstraint WHERE name = 'page_id' RETURN owningConstraint AS owner"
    assert await graph.read(owned, {}) == [{"owner": "page_id"}]


async def test_an_index_of_somebody_elses_that_has_the_name_is_left_alone(graph: GraphDriver) -> None:
    async def swap(transaction: AsyncTransaction) -> None:
        await run(transaction, "DROP CONSTRAINT page_id")

    async def foreign(transaction: AsyncTransaction) -> None:
        await run(transaction, "CREATE INDEX page_id FOR (t:Thing) ON (t.name)")

    async def back(transaction: AsyncTransaction) -> None:
        await run(transaction, "DROP INDEX page_id")

    await graph.write(swap)
    await graph.write(foreign)
    try:
        with pytest.raises(Transient, match="IndexWithNameAlreadyExists"):
            await ensure(graph)
        kept = "SHOW INDEXES YIELD name, labelsOrTypes WHERE name = 'page_id' RETURN labelsOrTypes AS labels"
        assert await graph.read(kept, {}) == [{"labels": ["Thing"]}]
    finally:
        await graph.write(back)
        await ensure(graph)


async def test_a_server_that_is_away_is_transient(settings: Neo4jSettings) -> None:
    away = settings.model_copy(update={"uri": "bolt://127.0.0.1:9"})
    async with open_driver(away) as driver:
        with pytest.raises(Transient):
            await driver.ping()


async def test_a_refused_login_is_no_fault_of_the_record(settings: Neo4jSettings, graph: GraphDriver) -> None:
    await graph.ping()
    async with open_driver(settings.model_copy(update={"user": "nobody-of-that-name"})) as driver:
        with pytest.raises(Transient) as caught:
            await driver.ping()
    assert settings.password.get_secret_value() not in str(caught.value)


async def test_a_statement_that_is_no_cypher_is_our_bug(graph: GraphDriver) -> None:
    from neo4j.exceptions import CypherSyntaxError

    with pytest.raises(CypherSyntaxError):
        await graph.read("MACH (n) RETURN n", {})


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (read._BY_KEY, {"id": "w/x"}),
        (read._BY_NAME, {"workspace": "w", "folded": "x", "name": "X"}),
        (read._BY_TAIL, {"workspace": "w", "folded": "x"}),
        (read._FACTS, {"workspace": "w", "predicate": "P", "limit": 1, "scan": 1, "shown": 1}),
        (read._AROUND_ENTITY + read._GROUPED, {"id": "w/x", "limit": 1, "scan": 1, "shown": 1}),
        (read._AROUND_DOCUMENT + read._GROUPED, {"id": "w/x", "limit": 1, "scan": 1, "shown": 1}),
        (written._CLEAR_RELATIONS, {"ids": ["w/x"]}),
        (written._KNOWN, {"workspace": "w", "kinds": ["person"], "limit": 1}),
        (written._RENAME, {"ids": ["w/x"], "documents": ["w/x"]}),
    ],
)
async def test_no_statement_reads_the_whole_graph(
    graph: GraphDriver, statement: str, parameters: dict[str, Any]
) -> None:
    async with graph.driver.session(database=graph.database) as session:
        summary = await (await session.run(f"EXPLAIN {statement}", parameters)).consume()
    assert summary.plan is not None
    operators = str(summary.plan["args"]["string-representation"])
    assert "Seek" in operators
    assert not {"AllNodesScan", "NodeByLabelScan", "RelationshipTypeScan", "IndexScan"} & set(
        operators.replace("|", " ").replace("+", " ").split()
    )
