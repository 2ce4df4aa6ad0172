"""The graph's answers as the door shows them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from gateway.connections import Graph
from infra.neo4j.graph import GraphEntity, Neighbor, Neighborhood
from tests.unit.gateway.conftest import Door, assert_problem

OCTOCAT = GraphEntity("person:github:octocat", "person", "octocat")
ISSUE = GraphEntity("issue:github:a/b#1", "issue", "Spelling")


@pytest.fixture
def asked(door: Door, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    questions: list[tuple[str, str, int]] = []

    async def neighbors(graph: object, workspace: str, entity: str, limit: int) -> Neighborhood | None:
        questions.append((workspace, entity, limit))
        known = Neighborhood(OCTOCAT, (Neighbor("AUTHORED", "out", ISSUE, ("d-1",)),))
        return known if entity == "octo/cat" else None

    monkeypatch.setattr("gateway.routes.graph.neighbors", neighbors)
    return questions


async def test_neighbors_are_shown(door: Door, asked: list[tuple[str, str, int]]) -> None:
    opened = closed = 0

    @asynccontextmanager
    async def driver() -> AsyncIterator[Any]:
        nonlocal opened, closed
        opened += 1
        yield cast(Any, object())
        closed += 1

    door.connections.graph = Graph(driver)
    for path in ("octo/cat", "octo%2Fcat"):
        response = await door.client.get(f"/v1/graph/neighbors/{path}?limit=7")
        assert response.json() == {
            "entity": {"key": "person:github:octocat", "kind": "person", "name": "octocat"},
            "neighbors": [
                {
                    "predicate": "AUTHORED",
                    "direction": "out",
                    "entity": {"key": "issue:github:a/b#1", "kind": "issue", "name": "Spelling"},
                    "documents": ["d-1"],
                }
            ],
        }
    assert asked == [("acme", "octo/cat", 7)] * 2
    await door.connections.graph.close()
    assert opened == 1
    assert closed == 1


@pytest.mark.parametrize("entity", ["nobody", "x" * 501])
async def test_an_unknown_entity_is_not_found(door: Door, asked: list[tuple[str, str, int]], entity: str) -> None:
    door.connections.graph = Graph(nothing)
    assert_problem(await door.client.get(f"/v1/graph/neighbors/{entity}"), 404, "entity_not_found")


@asynccontextmanager
async def nothing() -> AsyncIterator[Any]:
    yield object()
