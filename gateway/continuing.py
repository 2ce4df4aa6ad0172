"""Goes on from an earlier answer by its id."""

import asyncio
from time import monotonic
from uuid import UUID

from gateway.connections import Connections
from gateway.problems import Code, Problem
from gateway.recalling import place_of
from infra.postgres.turns import Turns

ARCHIVED_WITHIN_S = 2.0
"""How long an answer just given may take on its way to the archive."""
_POLL_S = 0.05


async def continued(held: Connections, workspace: str, request_id: UUID) -> Turns:
    """Return the conversation up to the answer to `request_id`, which may have been given a moment ago.

    Raises Problem(REQUEST_NOT_FOUND) if the archive has none of the workspace's, and Transient.
    """
    until = monotonic() + ARCHIVED_WITHIN_S
    known: bool | None = None
    while True:
        found = await held.turns_until(workspace, request_id)
        if found is not None:
            return found
        if known is None:
            known = await place_of(held, workspace, request_id) is not None
        if not known or monotonic() >= until:
            raise Problem(Code.REQUEST_NOT_FOUND, "there is no stored answer of this id to go on from")
        await asyncio.sleep(_POLL_S)
