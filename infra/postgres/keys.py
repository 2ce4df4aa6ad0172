"""API keys: who may act in which workspace.

A key is `mr_<key_id>_<secret>`. The id is public and stands in lists and logs; of the 256-bit random secret only the
SHA-256 is stored. A slow hash would protect nothing here: there is no dictionary of 2^256 secrets to try.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from infra.errors import Permanent
from infra.postgres.pool import translated
from schemas.dead_letters import UNKNOWN_WORKSPACE, Reason
from schemas.event import WORKSPACE_PATTERN

_KEY = re.compile(r"^mr_([0-9a-f]{12})_([0-9a-f]{64})$")
_NOBODY = bytes(32)
"""Compared where no key is found, so that an unknown key id takes as long as a wrong secret."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for."""

    key_id: str
    workspace: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `key` is shown once and cannot be read again."""

    key_id: str
    key: str
    workspace: str
    name: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as listed: everything but the secret."""

    key_id: str
    workspace: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


@translated
async def ensure_workspace(pool: "asyncpg.Pool[asyncpg.Record]", name: str) -> None:
    """Create workspace `name` unless it exists. Raises Permanent for a name that is none, Transient."""
    if not WORKSPACE_PATTERN.fullmatch(name) or name == UNKNOWN_WORKSPACE:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"not a workspace name: {name[:80]!r}")
    await pool.execute("insert into workspaces (name) values ($1) on conflict do nothing", name)


@translated
async def create_key(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, name: str) -> NewKey:
    """Make a key of `workspace`, creating the workspace on demand. Raises Transient, Permanent."""
    await ensure_workspace(pool, workspace)
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    await pool.execute(
        "insert into api_keys (key_id, workspace, name, hash) values ($1, $2, $3, $4)",
        key_id,
        workspace,
        name,
        _hash(secret),
    )
    return NewKey(key_id, f"mr_{key_id}_{secret}", workspace, name)


@translated
async def list_keys(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str | None = None) -> list[KeyRow]:
    """Return the keys of `workspace`, or of all workspaces for None, oldest first, revoked ones too."""
    rows = await pool.fetch(
        """select key_id, workspace, name, created_at, revoked_at from api_keys
           where $1::text is null or workspace = $1 order by created_at, key_id""",
        workspace,
    )
    return [KeyRow(**row) for row in rows]


@translated
async def revoke_key(pool: "asyncpg.Pool[asyncpg.Record]", key_id: str) -> bool:
    """Revoke a key for good; True if it was valid until now. A gateway honours it for its cache's seconds more."""
    status = await pool.execute(
        "update api_keys set revoked_at = now() where key_id = $1 and revoked_at is null", key_id
    )
    return bool(status == "UPDATE 1")


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a client showed it, its secret hashed: may be held in memory."""

    key_id: str
    digest: bytes

    @classmethod
    def parse(cls, key: str) -> "PresentedKey | None":
        """Return what `key` claims, None if it has not the shape of a key."""
        match = _KEY.match(key)
        return cls(match[1], _hash(match[2])) if match else None


@translated
async def verify_presented(pool: "asyncpg.Pool[asyncpg.Record]", key: PresentedKey) -> Principal | None:
    """Return who `key` belongs to, None if it is unknown, wrong or revoked. Raises Transient."""
    row = await pool.fetchrow("select workspace, hash, revoked_at from api_keys where key_id = $1", key.key_id)
    stored = row["hash"] if row else _NOBODY
    if not hmac.compare_digest(key.digest, stored) or row is None or row["revoked_at"] is not None:
        return None
    return Principal(key.key_id, row["workspace"])


async def verify_key(pool: "asyncpg.Pool[asyncpg.Record]", key: str) -> Principal | None:
    """Return who `key` belongs to, None if it is malformed, unknown, wrong or revoked. Raises Transient."""
    presented = PresentedKey.parse(key)
    return await verify_presented(pool, presented) if presented else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
