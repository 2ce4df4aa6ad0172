"""Registered sources: what may send events into a workspace, and the secrets that prove it.

Webhook secrets are needed in clear to verify signatures, so they are encrypted, not hashed: Fernet (AES-128-CBC with
HMAC-SHA256) under MILLRACE_SECRET_KEY. Several secrets of a source are valid at once, so that a rotation has no gap.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import asyncpg
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from infra.errors import Transient
from infra.postgres.keys import ensure_workspace
from infra.postgres.pool import translated
from infra.settings import SecretsSettings, SettingsError

VALID_SECRETS = 2
"""Secrets of one source that are valid at once: the newest and the one it replaces."""

_WEBHOOK_PREFIX = "whsec_"
_WEBHOOK_BYTES = (24, 64)
"""Standard Webhooks: a symmetric secret is 24 to 64 bytes, base64, after `whsec_`.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

_COLUMNS = "source_id, workspace, connector, name, secrets, config, enabled, created_at"

_INSERT = f"""
insert into sources (source_id, workspace, connector, name, secrets, config) values ($1, $2, $3, $4, $5, $6)
on conflict (workspace, name) do nothing returning {_COLUMNS}
"""  # noqa: S608 - constant column list


class Connector(Enum):
    """What can be registered. `hook`: it posts signed events to us."""

    GITHUB = ("github", True)
    GENERIC = ("generic", True)
    FILES = ("files", False)
    FEED = ("feed", False)

    def __init__(self, label: str, hook: bool) -> None:
        self.label = label
        self.hook = hook

    @classmethod
    def named(cls, label: str) -> "Connector | None":
        """Return the connector called `label`, None if there is none."""
        return next((connector for connector in cls if connector.label == label), None)


class SourceConflictError(Exception):
    """The workspace has a source of that name with another connector."""


class SecretShapeError(ValueError):
    """The given secret cannot sign a webhook of this connector; the message says what would."""


@dataclass(frozen=True, slots=True)
class Source:
    """A registered source. Its secrets are in clear, newest first, where they were asked for; never publish them."""

    source_id: str
    workspace: str
    connector: str
    name: str
    secrets: tuple[str, ...]
    config: dict[str, Any]
    enabled: bool
    created_at: datetime

    def __repr__(self) -> str:
        return f"Source({self.source_id}, {self.workspace}, {self.connector}, {self.name})"

    @property
    def hook_path(self) -> str:
        """Path at the gateway to which this source posts, empty for a source that does not."""
        connector = Connector.named(self.connector)
        return f"/v1/hooks/{self.connector}/{self.source_id}" if connector and connector.hook else ""


@dataclass(frozen=True, slots=True)
class Registered:
    """Outcome of a registration. `secret` is the one set by this call, to be shown once; None if none was set."""

    source: Source
    created: bool
    secret: str | None


class SecretBox:
    """Encrypts with the first of the given Fernet keys, decrypts with any: new key in front, old behind, to rotate."""

    def __init__(self, keys: str) -> None:
        """`keys`: one or more keys, comma-separated. Raises SettingsError, naming the variable and not the key."""
        try:
            self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
        except ValueError as error:
            raise SettingsError(
                "bad settings: MILLRACE_SECRET_KEY: one or more comma-separated keys of 32 url-safe base64 bytes"
            ) from error

    @classmethod
    def from_settings(cls, settings: SecretsSettings) -> "SecretBox":
        """Return the box that the environment's key opens."""
        return cls(settings.secret_key.get_secret_value())

    def seal(self, secret: str) -> bytes:
        """Encrypt one secret."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt one secret. Raises Transient: with the right key in place again it will open."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise Transient("secrets", "MILLRACE_SECRET_KEY does not open a stored webhook secret") from error


def make_secret(connector: Connector) -> str:
    """Return a fresh random 256-bit webhook secret in the shape that the connector's senders expect."""
    if connector is Connector.GENERIC:
        return _WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32)


def check_secret(connector: Connector, secret: str) -> None:
    """Raises SecretShapeError if webhooks of `connector` cannot be signed with `secret`."""
    if not connector.hook:
        raise SecretShapeError(f"sources of connector {connector.label} receive no webhooks and take no secret")
    if connector is not Connector.GENERIC:
        if len(secret) < 16:  # noqa: PLR2004 - said in the message
            raise SecretShapeError("a secret has at least 16 characters")
        return
    low, high = _WEBHOOK_BYTES
    try:
        size = len(base64.b64decode(secret.removeprefix(_WEBHOOK_PREFIX), validate=True))
    except (binascii.Error, ValueError) as error:
        raise SecretShapeError(f"a secret is {_WEBHOOK_PREFIX} and {low} to {high} bytes in base64") from error
    if not low <= size <= high:
        raise SecretShapeError(f"a secret holds {low} to {high} bytes, this one {size}")


@translated
async def register_source(
    pool: "asyncpg.Pool[asyncpg.Record]",
    box: SecretBox,
    *,
    workspace: str,
    connector: Connector,
    name: str,
    secret: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Registered:
    """Register a source, or update the one of this name: calling it twice leaves one source.

    A new source that receives webhooks gets the given secret or a generated one. For an existing source, `secret`
    becomes its newest secret (the one before stays valid, older ones do not), and `config` replaces the stored one.
    Raises SourceConflictError, SecretShapeError, Transient, Permanent.
    """
    if secret is not None:
        check_secret(connector, secret)
    fresh = secret or (make_secret(connector) if connector.hook else None)
    await ensure_workspace(pool, workspace)
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            _INSERT,
            *(f"src_{secrets.token_hex(10)}", workspace, connector.label, name),
            [box.seal(fresh)] if fresh else [],
            dict(config or {}),
        )
        if row is not None:
            if connector is Connector.FEED:
                await connection.execute("insert into source_pulls (source_id) values ($1)", row["source_id"])
            return Registered(_source(row, box), created=True, secret=fresh)
        existing = await connection.fetchrow(
            f"select {_COLUMNS} from sources where workspace = $1 and name = $2 for update",  # noqa: S608
            workspace,
            name,
        )
        if existing is None or existing["connector"] != connector.label:
            raise SourceConflictError(f"source {name!r} exists with another connector")
        return await _update(connection, box, _source(existing, box), secret, config)


async def _update(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
    box: SecretBox,
    source: Source,
    secret: str | None,
    config: Mapping[str, Any] | None,
) -> Registered:
    added = secret if secret is not None and secret not in source.secrets else None
    kept = (*((added,) if added else ()), *source.secrets)[:VALID_SECRETS]
    row = await connection.fetchrow(
        f"update sources set secrets = $2, config = $3 where source_id = $1 returning {_COLUMNS}",  # noqa: S608
        source.source_id,
        [box.seal(each) for each in kept],
        source.config if config is None else dict(config),
    )
    assert row is not None  # noqa: S101 - locked above
    return Registered(_source(row, box), created=False, secret=added)


@translated
async def find_source(pool: "asyncpg.Pool[asyncpg.Record]", box: SecretBox, source_id: str) -> Source | None:
    """Return a source by its id, whatever its workspace: the caller checks it. None if there is none."""
    row = await pool.fetchrow(f"select {_COLUMNS} from sources where source_id = $1", source_id)  # noqa: S608
    return _source(row, box) if row else None


@translated
async def find_by_name(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, name: str) -> Source | None:
    """Return the workspace's source of that name, without secrets. None if there is none."""
    row = await pool.fetchrow(
        f"select {_COLUMNS} from sources where workspace = $1 and name = $2",  # noqa: S608
        workspace,
        name,
    )
    return _source(row, None) if row else None


@translated
async def list_sources(
    pool: "asyncpg.Pool[asyncpg.Record]", *, workspace: str | None = None, connector: Connector | None = None
) -> list[Source]:
    """Return the sources of a workspace (None: of all) and of a connector (None: of any), by name, without secrets."""
    rows = await pool.fetch(
        f"""select {_COLUMNS} from sources where ($1::text is null or workspace = $1)
            and ($2::text is null or connector = $2) order by workspace, name""",  # noqa: S608
        workspace,
        connector.label if connector else None,
    )
    return [_source(row, None) for row in rows]


@translated
async def enable_source(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, source_id: str, enabled: bool) -> bool:
    """Switch a source on or off; False if the workspace has no such source."""
    status = await pool.execute(
        "update sources set enabled = $3 where workspace = $1 and source_id = $2", workspace, source_id, enabled
    )
    return bool(status == "UPDATE 1")


def _source(row: asyncpg.Record, box: SecretBox | None) -> Source:
    return Source(
        source_id=row["source_id"],
        workspace=row["workspace"],
        connector=row["connector"],
        name=row["name"],
        secrets=tuple(box.open(sealed) for sealed in row["secrets"]) if box else (),
        config=row["config"],
        enabled=row["enabled"],
        created_at=row["created_at"],
    )
