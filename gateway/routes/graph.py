"""What is stated of an entity."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import Code, Problem
from infra.neo4j.graph import neighbors

router = APIRouter(tags=["graph"], dependencies=[NEEDS_KEY])

MAX_ENTITY = 500


class EntityShown(BaseModel):
    """A node of the graph; a document has the key `document:<uuid>`."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    kind: str
    name: str


class NeighborShown(BaseModel):
    """A statement: `out` reads "entity PREDICATE neighbor", `in` the other way round."""

    model_config = ConfigDict(from_attributes=True)

    predicate: str
    direction: Literal["out", "in"]
    entity: EntityShown
    documents: list[str]


class Neighbors(BaseModel):
    """An entity and what is stated of it, best attested first."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "entity": {"key": "person:github:octocat", "kind": "person", "name": "octocat"},
                    "neighbors": [
                        {
                            "predicate": "AUTHORED",
                            "direction": "out",
                            "entity": {
                                "key": "issue:github:Codertocat/Hello-World#1",
                                "kind": "issue",
                                "name": "Spelling error in the README file",
                            },
                            "documents": ["0d9b0b52-5c0e-5b43-9f2c-0f6c3f0a7c11"],
                        }
                    ],
                }
            ]
        },
    )

    entity: EntityShown
    neighbors: list[NeighborShown]


@router.get(
    "/v1/graph/neighbors/{entity:path}",
    response_model=Neighbors,
    responses=problems(*AUTHENTICATED, Code.ENTITY_NOT_FOUND, Code.INVALID_REQUEST),
)
async def read_neighbors(
    entity: str, caller: Caller, held: Held, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> Neighbors:
    """Return what is stated of an entity, found by its key, else by its name. Slashes in it need no escaping."""
    found = None
    if 0 < len(entity) <= MAX_ENTITY:
        found = await neighbors(await held.graph.driver(), caller.workspace, entity, limit)
    if found is None:
        raise Problem(Code.ENTITY_NOT_FOUND)
    return Neighbors.model_validate(found)
