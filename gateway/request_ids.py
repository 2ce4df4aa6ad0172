"""Ids of chat requests that tell where their replies are.

A stream that breaks with its gateway is taken up by another one, which has to know the partition of `chat.replies` and
the time from which to read it, and whether the id is one of this workspace's at all. The id itself says so: no store is
asked for it, and none can have forgotten. It is an RFC 9562 version 8 UUID:

    48 bits  milliseconds since 1970   12 bits  partition   30 bits  random   32 bits  authentication

The last is a truncated HMAC-SHA-256 over the workspace and the rest, under a key that all gateways share. It keeps
ids of other workspaces and made-up ones from being looked for (each passes with 1 : 4 billion); what then is read from
the log is checked for its workspace all the same.

Ids of conversations that are begun here are made alike, under a key of their own: one can be deleted before anything of
it has been archived.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from secrets import randbits
from uuid import UUID

_VERSION = 8
_VARIANT = 0b10
_PURPOSE = b"millrace chat request id\x1f"
_CONVERSATIONS = b"millrace conversation id\x1f"
_MAC_BYTES = 4
MAX_PARTITIONS = 1 << 12


@dataclass(frozen=True, slots=True)
class Issued:
    """What an id tells."""

    partition: int
    at: datetime


class RequestIds:
    """Makes ids under the first of the given keys, reads those of any: new key in front, old behind, to rotate."""

    def __init__(self, keys: str, purpose: bytes = _PURPOSE) -> None:
        """`keys`: one or more, comma-separated, as `MILLRACE_SECRET_KEY` has them. Raises ValueError without one."""
        self._given = keys
        self._keys: Sequence[bytes] = [
            sha256(purpose + key.strip().encode()).digest() for key in keys.split(",") if key.strip()
        ]
        if not self._keys:
            raise ValueError("ids are made under a key")

    def of_conversations(self) -> "RequestIds":
        """Return those that make and read the ids of conversations: neither kind is taken for the other."""
        return RequestIds(self._given, _CONVERSATIONS)

    def issue(self, workspace: str, partition: int, at: datetime) -> UUID:
        """Return a new id. Raises ValueError for a partition that it cannot hold."""
        if not 0 <= partition < MAX_PARTITIONS:
            raise ValueError(f"an id holds no partition {partition}")
        milliseconds = round(at.timestamp() * 1000)
        head = (((milliseconds << 4 | _VERSION) << 12 | partition) << 2 | _VARIANT) << 30 | randbits(30)
        return UUID(int=head << 32 | _mac(self._keys[0], workspace, head))

    def read(self, workspace: str, request_id: UUID) -> Issued | None:
        """Return what `request_id` tells, None if it was not issued for a request of `workspace`."""
        if request_id.version != _VERSION:
            return None
        head, mac = request_id.int >> 32, request_id.int & 0xFFFFFFFF
        if not any(hmac.compare_digest(_bytes(mac), _bytes(_mac(key, workspace, head))) for key in self._keys):
            return None
        return Issued(head >> 32 & 0xFFF, datetime.fromtimestamp((head >> 48) / 1000, UTC))


def _mac(key: bytes, workspace: str, head: int) -> int:
    digest = hmac.digest(key, head.to_bytes(12, "big") + workspace.encode(), "sha256")
    return int.from_bytes(digest[:_MAC_BYTES], "big")


def _bytes(mac: int) -> bytes:
    return mac.to_bytes(_MAC_BYTES, "big")
