"""What can be read from the graph after documents have been built into it."""

from dataclasses import replace

import pytest

from infra.neo4j.client import GraphDriver
from infra.neo4j.graph import Fact, GraphEntity, Neighbor, facts, find_entity, neighbors
from schemas.documents import DocumentVersion, Entity, Relation
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import document
from tests.graphs import digest
from workers.graph_builder.gazetteers import Gazetteers
from workers.graph_builder.settings import GraphBuilderSettings
from workers.graph_builder.store import EDGES_AT_ONCE
from workers.graph_builder.worker import Tools, build, open_tools

ANN = Entity(key="person:github:ann", kind="person", name="Ann Lee", aliases=("ann",), url="https://github.com/ann")
REPOSITORY = Entity(key="repository:github:o/r", kind="repository", name="o/r", url="https://github.com/o/r")
ISSUE = Entity(key="issue:github:o/r#1", kind="issue", name="It breaks", aliases=("o/r#1",))
STATED = (
    Relation(subject=ANN.key, predicate="AUTHORED", object=ISSUE.key),
    Relation(subject=ISSUE.key, predicate="PART_OF", object=REPOSITORY.key),
)


def issue(workspace: str, number: int = 1) -> DocumentVersion:
    return document(
        "It breaks.",
        workspace=workspace,
        version=number,
        external_id="issue",
        kind="issue",
        title="It breaks",
        url="https://github.com/o/r/issues/1",
        entities=(ANN, REPOSITORY, ISSUE),
        relations=STATED,
    )


def note(workspace: str, text: str = "Ann Lee fixed o/r#1.", *links: str) -> DocumentVersion:
    return document(text, workspace=workspace, external_id="note", kind="file", title="Note", links=links)


async def give(tools: Tools, *bodies: DocumentVersion) -> list[Receipt]:
    outgoing = await build([delivery(body) for body in bodies], tools)
    receipts = [event.body for event in outgoing]
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    return receipts  # type: ignore[return-value]


async def around(graph: GraphDriver, workspace: str, entity: str) -> list[tuple[str, str, str]]:
    found = await neighbors(graph, workspace, entity)
    assert found is not None
    return sorted((near.predicate, near.direction, near.entity.name) for near in found.neighbors)


async def test_neighbors_are_what_the_source_states(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    body = issue(workspace)
    await give(tools, body)
    found = await neighbors(graph, workspace, ISSUE.key)
    assert found is not None
    assert found.entity == GraphEntity(ISSUE.key, "issue", "It breaks")
    documents = (str(body.document_id),)
    assert found.neighbors == (
        Neighbor("AUTHORED", "in", GraphEntity(ANN.key, "person", "Ann Lee"), documents),
        Neighbor("PART_OF", "out", GraphEntity(REPOSITORY.key, "repository", "o/r"), documents),
    )


@pytest.mark.parametrize("name", [ANN.key, "Ann Lee", "ann LEE", "ann", "ANN"])
async def test_an_entity_is_found_by_key_name_or_its_own_id(
    graph: GraphDriver, tools: Tools, workspace: str, name: str
) -> None:
    await give(tools, issue(workspace))
    found = await find_entity(graph, workspace, name)
    assert found is not None
    assert found.key == ANN.key


@pytest.mark.parametrize(
    "name", ["", "Ann", "Lee", "document:", "document:x", "document:00000000-0000-0000-0000-000000000000", "%", "a/b"]
)
async def test_what_is_unknown_is_none(graph: GraphDriver, tools: Tools, workspace: str, name: str) -> None:
    await give(tools, issue(workspace))
    known = await neighbors(graph, workspace, name)
    assert known is None or name == "Ann"


async def test_the_exact_spelling_wins_over_another_case(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    entities = [Entity(key=f"topic:x:{n}", kind="topic", name=name) for n, name in enumerate(("go", "Go", "GO"))]
    await give(tools, document(workspace=workspace, entities=tuple(entities)))
    for entity in entities:
        found = await find_entity(graph, workspace, entity.name)
        assert found is not None
        assert found.key == entity.key


async def test_the_limit_holds(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    await give(tools, issue(workspace))
    found = await neighbors(graph, workspace, ISSUE.key, limit=1)
    assert found is not None
    assert len(found.neighbors) == 1
    with pytest.raises(ValueError, match="limit"):
        await neighbors(graph, workspace, ISSUE.key, limit=0)


async def test_facts_are_statements_with_their_documents(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    body = issue(workspace)
    await give(tools, body)
    expected = Fact(
        GraphEntity(ANN.key, "person", "Ann Lee"),
        "AUTHORED",
        GraphEntity(ISSUE.key, "issue", "It breaks"),
        (str(body.document_id),),
    )
    assert await facts(graph, workspace, "AUTHORED") == (expected,)
    assert await facts(graph, workspace, "LABELLED") == ()


@pytest.mark.parametrize("by", ["key", "title"])
async def test_a_document_is_also_what_its_source_states_of_it(
    graph: GraphDriver, tools: Tools, workspace: str, by: str
) -> None:
    body = note(workspace, "A text.")
    own = f"document:{body.document_id}"
    stated = {
        "entities": (Entity(key=own, kind="document", name="something else"), ANN),
        "relations": (Relation(subject=ANN.key, predicate="AUTHORED", object=own),),
    }
    await give(tools, body.model_copy(update=stated))
    found = await neighbors(graph, workspace, own if by == "key" else "note")
    assert found is not None
    assert found.entity == GraphEntity(own, "file", "Note")
    assert [(near.predicate, near.direction, near.entity.key) for near in found.neighbors] == [
        ("AUTHORED", "in", ANN.key),
        ("STATES", "out", ANN.key),
    ]
    assert await around(graph, workspace, ANN.key) == [("AUTHORED", "out", "Note")]


async def test_known_names_in_a_text_become_mentions(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    await give(tools, issue(workspace))
    body = note(workspace)
    await give(tools, body)
    assert await around(graph, workspace, f"document:{body.document_id}") == [
        ("MENTIONS", "out", "Ann Lee"),
        ("MENTIONS", "out", "It breaks"),
    ]
    assert ("MENTIONS", "in", "Note") in await around(graph, workspace, ANN.key)
    rows = await graph.read(
        "MATCH (:Document {workspace: $workspace})-[r:MENTIONS]->(:Entity {key: $key}) RETURN r.start AS s, r.end AS e",
        {"workspace": workspace, "key": ANN.key},
    )
    assert [body.text[row["s"] : row["e"]] for row in rows] == ["Ann Lee"]


async def test_a_mention_keeps_nobody_alive(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    await give(tools, issue(workspace))
    await give(tools, note(workspace))
    gone = issue(workspace).model_copy(
        update={"operation": "delete", "version": 2, "text": "", "chunks": (), "entities": (), "relations": ()}
    )
    await give(tools, gone)
    statement = "MATCH (e:Entity {workspace: $workspace}) RETURN e"
    assert await graph.read(statement, {"workspace": workspace}) == []


@pytest.mark.parametrize("order", ["link first", "target first"])
async def test_a_link_finds_its_target_in_either_order(
    graph: GraphDriver, tools: Tools, workspace: str, order: str
) -> None:
    target = issue(workspace)
    linking = note(workspace, "See there.", "https://GitHub.com/o/r/issues/1#issuecomment-7", ANN.url)
    for body in (linking, target) if order == "link first" else (target, linking):
        await give(tools, body)
    linked = [("LINKS_TO", "out", "Ann Lee"), ("LINKS_TO", "out", "It breaks")]
    assert await around(graph, workspace, f"document:{linking.document_id}") == linked
    assert ("LINKS_TO", "in", "Note") in await around(graph, workspace, f"document:{target.document_id}")
    assert ("LINKS_TO", "in", "Note") in await around(graph, workspace, ANN.key)


async def test_receipts_say_what_became_of_each_version(tools: Tools, workspace: str) -> None:
    receipts = await give(tools, issue(workspace, 1), issue(workspace, 3), issue(workspace, 2))
    assert [(receipt.version, receipt.outcome) for receipt in receipts] == [(1, "stale"), (3, "applied"), (2, "stale")]
    assert [receipt.parts for receipt in receipts] == [0, 2, 0]
    (again,) = await give(tools, issue(workspace, 3))
    assert again.outcome == "applied"
    (late,) = await give(tools, issue(workspace, 2))
    assert late.outcome == "stale"


async def test_two_workspaces_share_nothing(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    other = f"{workspace}b"
    await give(tools, issue(workspace), issue(other))
    await give(tools, note(workspace), note(other))
    before = await digest(graph, other)
    gone = [body.model_copy(update={"operation": "delete", "version": 9, "text": "", "chunks": ()}) for body in
            (issue(workspace), note(workspace))]  # fmt: skip
    await give(tools, *gone)
    assert await digest(graph, other) == before
    assert await neighbors(graph, workspace, "Ann Lee") is None
    assert await neighbors(graph, other, f"document:{issue(workspace).document_id}") is None
    assert await neighbors(graph, workspace, f"document:{issue(other).document_id}") is None
    crossing = "MATCH (a)-[r]-(b) WHERE a.id STARTS WITH $one AND NOT b.id STARTS WITH $one RETURN r"
    assert await graph.read(crossing, {"one": f"{other}/"}) == []


async def test_names_of_one_workspace_are_not_looked_for_in_another(
    graph: GraphDriver, tools: Tools, workspace: str
) -> None:
    await give(tools, issue(workspace))
    stranger = note(f"{workspace}b")
    await give(tools, stranger)
    assert await around(graph, stranger.workspace, f"document:{stranger.document_id}") == []


async def test_huge_and_odd_names_fit(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    entities = [
        Entity(key="person:x:" + "k" * 20_000, kind="person", name="n" * 20_000),
        Entity(key="person:x:'\"\\`}", kind="person", name="Robert'); MATCH (n) DETACH DELETE n //"),
        Entity(key="topic:x:nul", kind="topic", name="a\x00b", url="https://example.org/" + "u" * 20_000),
    ]
    body = document(workspace=workspace, entities=tuple(entities), title="t" * 20_000)
    (receipt,) = await give(tools, body)
    assert receipt.outcome == "applied"
    for entity in entities:
        found = await find_entity(graph, workspace, entity.key)
        assert found is not None
        assert found.name == entity.name


async def test_names_are_read_again_only_when_they_are_old(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    slow = GraphBuilderSettings.model_validate({"GRAPH_GAZETTEER_REFRESH_S": 3_600})
    patient = replace(tools, gazetteers=Gazetteers(graph, slow))
    assert len(await patient.gazetteers.of(workspace)) == 0
    await give(patient, issue(workspace))
    assert len(await patient.gazetteers.of(workspace)) == 0
    assert len(await tools.gazetteers.of(workspace)) > 0


async def test_the_gazetteers_stay_within_their_bounds(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    other = f"{workspace}b"
    await give(tools, issue(workspace), issue(other))
    settings = GraphBuilderSettings.model_validate(
        {"GRAPH_GAZETTEER_REFRESH_S": 3_600, "GRAPH_GAZETTEER_NAMES": 2, "GRAPH_GAZETTEER_TOTAL": 3}
    )
    gazetteers = Gazetteers(graph, settings)
    first = await gazetteers.of(workspace)
    assert 0 < len(first) <= 4
    assert await gazetteers.of(workspace) is first
    await gazetteers.of(other)
    assert await gazetteers.of(workspace) is not first


async def test_a_batch_of_huge_documents_is_written_in_parts(graph: GraphDriver, tools: Tools, workspace: str) -> None:
    assert EDGES_AT_ONCE < 3 * 1_700
    topics = [Entity(key=f"topic:x:{n}", kind="topic", name=str(n)) for n in range(1_700)]
    receipts = await give(
        tools, *(document(workspace=workspace, external_id=str(n), entities=tuple(topics)) for n in range(3))
    )
    assert {receipt.outcome for receipt in receipts} == {"applied"}
    rows = await graph.read("MATCH (:Document {workspace: $w})-[r:STATES]->() RETURN count(r) AS n", {"w": workspace})
    assert rows == [{"n": 5_100}]


async def test_the_tools_come_from_the_environment(
    neo4j: dict[str, str], workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in neo4j.items():
        monkeypatch.setenv(name, value)
    async with open_tools() as tools:
        (receipt,) = await give(tools, issue(workspace))
    assert receipt.outcome == "applied"
