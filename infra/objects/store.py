"""Content-addressed object store: a folder, S3, GCS or Azure, by URL.

An object's name is the sha256 of its bytes, so writing twice changes nothing and a reader can check what it got.
"""

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from infra.errors import Permanent, Transient
from schemas.dead_letters import Reason

_REFERENCE = re.compile(r"^sha256:[0-9a-f]{64}$")


class ObjectStore:
    """Holds the bodies that are too large for a record."""

    def __init__(self, store: obstore.store.ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at `url` (file:///folder, s3://bucket/prefix, …). Raises ValueError for an unusable URL."""
        parts = urlsplit(url)
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(LocalStore(folder))
        try:
            return cls(from_url(url))
        except BaseError as error:
            raise ValueError(f"OBJECT_STORE_URL cannot be used: {error}") from error

    async def put(self, content: bytes) -> str:
        """Store `content` and return its reference, `sha256:<hex>`. Raises Transient."""
        digest = await asyncio.to_thread(_digest, content)
        try:
            await obstore.put_async(self._store, _path(digest), content)
        except BaseError as error:
            raise Transient("objects", f"cannot store sha256:{digest}: {type(error).__name__}") from error
        return f"sha256:{digest}"

    async def get(self, reference: str) -> bytes:
        """Return the bytes of `reference`, checked against it.

        Raises Permanent(BODY_MISSING) if the store has no such object or other bytes, Transient if it cannot tell.
        """
        if not _REFERENCE.match(reference):
            raise Permanent(Reason.BODY_MISSING, "not a body reference")
        digest = reference.removeprefix("sha256:")
        try:
            result = await obstore.get_async(self._store, _path(digest))
            content = bytes(await result.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise Permanent(Reason.BODY_MISSING, f"the object store has no {reference}") from error
        except BaseError as error:
            raise Transient("objects", f"cannot read {reference}: {type(error).__name__}") from error
        if await asyncio.to_thread(_digest, content) != digest:
            raise Permanent(Reason.BODY_MISSING, f"the bytes of {reference} have changed")
        return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _path(digest: str) -> str:
    return f"sha256/{digest[:2]}/{digest}"
