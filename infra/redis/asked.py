"""What was asked under an `Idempotency-Key`, and who has come back to an answer.

Kept for as long as the replies are on the log. What is lost here can cost a second inference, never a wrong answer.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from infra.redis.client import translating

PREFIX = "millrace:asked:1"
VISITS_PREFIX = "millrace:visits:1"
BEGUN_PREFIX = "millrace:begun:1"
"""Each ends in the layout's version."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request made under a key: where its replies are, and of what it was made."""

    fingerprint: str
    """Hash of what was asked: the same key with another is a mistake of the sender."""
    partition: int
    """Of `chat.replies`."""
    conversation_id: UUID
    accepted_at: datetime
    deadline: datetime
    published: bool = False
    """Whether the broker has acknowledged the request."""


_ASKED = TypeAdapter(Asked)


class AskedRequests:
    """Requests by workspace and id. Every method raises Transient while the server is away."""

    def __init__(self, client: Redis, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s

    async def claim(self, workspace: str, request_id: UUID, asked: Asked) -> Asked | None:
        """Keep `asked` if nothing is kept under the id, and return None; else return what is kept."""
        async with translating():
            kept = await self._client.set(
                _key(PREFIX, workspace, request_id), _ASKED.dump_json(asked), nx=True, get=True, ex=self._ttl_s
            )
        return None if kept is None else _read(kept)

    async def keep(self, workspace: str, request_id: UUID, asked: Asked) -> None:
        """Keep `asked` in place of what was kept."""
        async with translating():
            await self._client.set(_key(PREFIX, workspace, request_id), _ASKED.dump_json(asked), ex=self._ttl_s)

    async def forget(self, workspace: str, request_id: UUID) -> None:
        """Keep nothing under the id."""
        async with translating():
            await self._client.delete(_key(PREFIX, workspace, request_id))

    async def find(self, workspace: str, request_id: UUID) -> Asked | None:
        """Return what is kept, None if nothing is."""
        async with translating():
            kept = await self._client.get(_key(PREFIX, workspace, request_id))
        return None if kept is None else _read(kept)

    async def visit(self, workspace: str, request_id: UUID) -> int:
        """Count a client that comes back to the request; return how many have."""
        name = _key(VISITS_PREFIX, workspace, request_id)
        async with translating(), self._client.pipeline(transaction=True) as commands:
            commands.incr(name)
            commands.expire(name, self._ttl_s)
            counted, _ = await commands.execute()
        return int(counted)

    async def visits(self, workspace: str, request_id: UUID) -> int:
        """Return how many clients have come back to the request."""
        async with translating():
            return int(await self._client.get(_key(VISITS_PREFIX, workspace, request_id)) or 0)

    async def begin(self, workspace: str, conversation_id: UUID, at: datetime) -> None:
        """Keep that a conversation was begun under an id of the asker's own; of several times the first counts."""
        name = _key(BEGUN_PREFIX, workspace, conversation_id)
        async with translating():
            await self._client.set(name, at.isoformat(), nx=True, ex=self._ttl_s)

    async def begun(self, workspace: str, conversation_id: UUID) -> datetime | None:
        """Return when such a conversation was begun, None if that is not known."""
        async with translating():
            kept = await self._client.get(_key(BEGUN_PREFIX, workspace, conversation_id))
        return datetime.fromisoformat(kept.decode()) if isinstance(kept, bytes) else None


def _key(prefix: str, workspace: str, request_id: UUID) -> str:
    return f"{prefix}:{workspace}:{request_id}"


def _read(kept: bytes | str | bool) -> Asked | None:
    try:
        return _ASKED.validate_json(kept if isinstance(kept, bytes) else b"")
    except ValidationError:
        # Not ours, or of another layout: as good as nothing.
        return None
