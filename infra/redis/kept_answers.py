"""Answers kept for a time when no model answers, by workspace; and the proof that a deleted document is in none.

An entry holds text that was made of documents, so it is bound to them: `forget` removes every entry whose prompt held a
version of a document that was deleted or replaced, and leaves a mark of a deletion. An answer that was being written
meanwhile is refused by that mark when it comes to be kept. Both are scripts, which the server runs one after another:
there is no moment between looking at the marks and writing.

Keys, all of one workspace in one slot: `entries` (id, entry), `documents` (id, versions that its prompt held),
`order` (id, time of expiry), and `gone:<document>` (version that was deleted). The answer of a workspace never stands
under a key of another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from uuid import UUID

import orjson
from redis.asyncio import Redis

from infra.redis.client import translating

PREFIX = "millrace:answers:1"
"""Ends in the layout's version."""
LONGEST_TTL_S = 7 * 24 * 3_600
"""Most seconds that an entry may be kept. What was not kept again is gone from the server after twice that."""
MARK_TTL_S = 24 * 3_600
"""How long a deletion is remembered: far longer than a question may be under way."""
LARGEST_BYTES = 64 * 1024
"""A longer entry is not kept."""

_KEEP = """
for at = 4, #KEYS do
  local gone = redis.call('GET', KEYS[at])
  if gone and tonumber(gone) >= tonumber(ARGV[at + 3]) then return 0 end
end
local function drop(ids)
  for _, id in ipairs(ids) do
    redis.call('HDEL', KEYS[1], id); redis.call('HDEL', KEYS[2], id); redis.call('ZREM', KEYS[3], id)
  end
end
local now, expires, ttl, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[#ARGV])
drop(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[3], expires, ARGV[1])
local over = redis.call('ZCARD', KEYS[3]) - most
if over > 0 then drop(redis.call('ZRANGE', KEYS[3], 0, over - 1)) end
for at = 1, 3 do redis.call('EXPIRE', KEYS[at], ttl) end
return 1
"""

_FORGET = """
local wanted, dropped = {}, 0
for at = 4, #KEYS do
  local document, version, deleted = ARGV[3 * at - 11], tonumber(ARGV[3 * at - 10]), ARGV[3 * at - 9] == '1'
  local before = deleted and version + 1 or version
  if not wanted[document] or wanted[document] < before then wanted[document] = before end
  if deleted then
    local gone = redis.call('GET', KEYS[at])
    if not gone or tonumber(gone) < version then gone = ARGV[3 * at - 10] end
    redis.call('SET', KEYS[at], gone, 'EX', tonumber(ARGV[#ARGV]))
  end
end
local held = redis.call('HGETALL', KEYS[2])
for at = 1, #held, 2 do
  for document, version in pairs(cjson.decode(held[at + 1])) do
    if wanted[document] and version < wanted[document] then
      redis.call('HDEL', KEYS[1], held[at])
      redis.call('HDEL', KEYS[2], held[at])
      redis.call('ZREM', KEYS[3], held[at])
      dropped = dropped + 1
      break
    end
  end
end
return dropped
"""


Argument = str | int | bytes


@dataclass(frozen=True, slots=True)
class Changed:
    """A document whose state has changed: versions below `version` are replaced, with `deleted` that one too."""

    document_id: UUID
    version: int
    deleted: bool


class KeptAnswers:
    """The store. Every method raises Transient while the server is away."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._keep = client.register_script(_KEEP)
        self._forget = client.register_script(_FORGET)

    async def keep(
        self, workspace: str, entry_id: str, entry: bytes, documents: Mapping[UUID, int], *, ttl_s: int, most: int
    ) -> bool:
        """Keep an entry that was made of these versions for `ttl_s`, the newest `most` of the workspace.

        False: it is too large, or one of its documents was deleted meanwhile.
        """
        if len(entry) > LARGEST_BYTES:
            return False
        now = round(time())
        versions = orjson.dumps({str(document): version for document, version in documents.items()})
        keys = [*_keys(workspace), *(_gone(workspace, document) for document in documents)]
        # The script numbers them: id, entry, documents; now, expiry, ttl; a version per document; and last the bound.
        arguments: list[Argument] = [entry_id, entry, versions, now, now + ttl_s, ttl_s, *documents.values(), most]
        async with translating():
            return bool(await self._keep(keys=keys, args=arguments))

    async def entries(self, workspace: str) -> list[bytes]:
        """Return the entries of a workspace that have not expired, in no order."""
        entries, _, order = _keys(workspace)
        async with translating():
            ids = await self._client.zrangebyscore(order, f"({time():.0f}", "+inf")
            found = await self._client.hmget(entries, [one for one in ids if isinstance(one, bytes)]) if ids else []
        return [entry for entry in found if isinstance(entry, bytes)]

    async def forget(self, workspace: str, changed: Sequence[Changed]) -> int:
        """Remove every entry that was made of a version that is no more; return how many there were."""
        if not changed:
            return 0
        keys = [*_keys(workspace), *(_gone(workspace, each.document_id) for each in changed)]
        arguments: list[Argument] = list(_arguments(changed))
        async with translating():
            return int(await self._forget(keys=keys, args=[*arguments, MARK_TTL_S]))


def _arguments(changed: Iterable[Changed]) -> Iterable[str | int]:
    for each in changed:
        yield from (str(each.document_id), each.version, int(each.deleted))


def _keys(workspace: str) -> tuple[str, str, str]:
    slot = f"{PREFIX}:{{{workspace}}}"
    return f"{slot}:entries", f"{slot}:documents", f"{slot}:order"


def _gone(workspace: str, document: UUID) -> str:
    return f"{PREFIX}:{{{workspace}}}:gone:{document}"
