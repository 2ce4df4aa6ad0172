"""Registered sources: all that the gateway writes (docs/decisions/0006-gateway-configuration-writes.md)."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from starlette.responses import Response

from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, PUBLISHING, problems
from gateway.problems import Code, Problem
from infra.postgres.progress import Completeness, completeness
from infra.postgres.sources import (
    Connector,
    SecretShapeError,
    Source,
    SourceConflictError,
    list_sources,
    register_source,
)

router = APIRouter(tags=["sources"], dependencies=[NEEDS_KEY])

MAX_CONFIG_BYTES = 16_384

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")
]


class NewSource(BaseModel):
    """A source to register."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "engineering", "connector": "github"},
                {"name": "news", "connector": "feed", "config": {"url": "https://example.org/feed.xml"}},
            ]
        },
    )

    name: Name
    connector: Literal["github", "generic", "files", "feed"]
    secret: str | None = Field(default=None, max_length=200)
    """Webhook secret; generated if absent. For an existing source it becomes the newest of the valid secrets."""
    config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _usable(self) -> "NewSource":
        if self.config is not None and len(orjson.dumps(self.config)) > MAX_CONFIG_BYTES:
            raise ValueError(f"config is over {MAX_CONFIG_BYTES} bytes")
        if self.connector == "feed":
            url = (self.config or {}).get("url")
            parts = urlsplit(url) if isinstance(url, str) else None
            if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("a feed needs config.url, an http or https address")
        return self


class CompletenessShown(BaseModel):
    """How far the events of a source have come, in events."""

    model_config = ConfigDict(from_attributes=True)

    fetched: int
    normalised: int
    embedded: int
    graphed: int
    dead_lettered: int
    not_a_document: int
    pending: int
    complete: bool


class SourceShown(BaseModel):
    """A registered source, without its secrets."""

    source_id: str
    name: str
    connector: str
    enabled: bool
    config: dict[str, Any]
    hook_path: str
    """Where its webhooks go; empty for a connector that receives none."""


class SourceProgress(SourceShown):
    """A source and how far its events have come."""

    completeness: CompletenessShown


class Sources(BaseModel):
    """The sources of the workspace, by name."""

    sources: list[SourceProgress]


class RegisteredShown(SourceShown):
    """A source just registered. `secret` is shown this once, and only if this call set it."""

    secret: str | None = None


@router.get("/v1/sources", response_model=Sources, responses=problems(*AUTHENTICATED))
async def read_sources(caller: Caller, held: Held) -> Sources:
    """List the sources with their completeness."""
    sources = await list_sources(held.pool, workspace=caller.workspace)
    counted = await completeness(held.pool, caller.workspace)
    return Sources(
        sources=[
            SourceProgress(
                **_shown(source),
                completeness=CompletenessShown.model_validate(counted.get(source.source_id, Completeness())),
            )
            for source in sources
        ]
    )


@router.post(
    "/v1/sources",
    status_code=201,
    response_model=RegisteredShown,
    responses={
        200: {"model": RegisteredShown, "description": "The source existed; secret and config were updated if given."},
        **problems(*AUTHENTICATED, Code.SOURCE_CONFLICT, Code.INVALID_REQUEST, Code.INVALID_JSON, *PUBLISHING[1:]),
    },
)
async def create_source(new: NewSource, caller: Caller, held: Held, response: Response) -> RegisteredShown:
    """Register a source, or update the one of this name."""
    connector = Connector.named(new.connector)
    assert connector is not None  # noqa: S101 - the model allows these four
    try:
        registered = await register_source(
            held.pool,
            held.box,
            workspace=caller.workspace,
            connector=connector,
            name=new.name,
            secret=new.secret,
            config=new.config,
        )
    except SourceConflictError as error:
        raise Problem(Code.SOURCE_CONFLICT) from error
    except SecretShapeError as error:
        raise Problem(Code.INVALID_REQUEST, errors=[{"pointer": "/secret", "detail": str(error)}]) from error
    held.sources.forget(registered.source.source_id)
    response.status_code = 201 if registered.created else 200
    return RegisteredShown(**_shown(registered.source), secret=registered.secret)


def _shown(source: Source) -> dict[str, Any]:
    return {name: getattr(source, name) for name in SourceShown.model_fields}
