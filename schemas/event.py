"""What every event body has in common."""

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MAX_VERSION = 2**53 - 1
"""Largest document version: beyond it a JSON number or a vector store's float range loses whole numbers (IEEE 754)."""

WORKSPACE_PATTERN = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")

Workspace = Annotated[str, StringConstraints(pattern=WORKSPACE_PATTERN.pattern)]
"""Tenant name: lower-case letters, digits, `_` and `-`, 1 to 63 characters."""

Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
"""Position of a document's state in its own history: the greater wins, equal means the same state (of a deletion and
another state with one number the deletion counts)."""

Timestamp = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A moment with a zone, kept in UTC."""


def now() -> datetime:
    """Return the present moment in UTC, for times that are reported and never compared for order."""
    return datetime.now(UTC)


class Event(BaseModel):
    """Body of one event.

    `schema_name` and `schema_version` travel in the `schema` header. A field that a newer producer added is ignored;
    a newer `schema_version` is refused by the consumer: raise it only for a change that an old reader must not guess.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    schema_name: ClassVar[str]
    schema_version: ClassVar[int] = 1

    workspace: Workspace

    @property
    def weight(self) -> int:
        """Rough size in bytes of what can be large in this event; a heavy one is encoded off the event loop."""
        return 0


class Value(BaseModel):
    """A part of an event body."""

    model_config = ConfigDict(frozen=True, extra="ignore")
