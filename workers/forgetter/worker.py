"""Forgets kept answers whose documents were deleted or replaced, or whose conversation was deleted.

consumes   receipts   of the ledger, the indexes and the archivist: what has changed
publishes  receipts   sink `answer_cache`: no kept answer was made of the deleted document or in that conversation
"""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.redis.client import open_redis
from infra.redis.kept_answers import KeptAnswers
from infra.settings import RedisSettings, load
from schemas.receipts import Receipt
from topics.catalogue import RECEIPTS
from workers.forgetter.forget import changes, confirmation, confirms


@asynccontextmanager
async def open_tools() -> AsyncIterator[KeptAnswers | None]:
    """Open the store of answers; without REDIS_URL nothing keeps any, here or in the inference worker."""
    if not os.environ.get("REDIS_URL"):
        yield None
        return
    async with open_redis(load(RedisSettings)) as client:
        yield KeptAnswers(client)


worker = Worker("forgetter", tools=open_tools, publishes=(RECEIPTS,))


@worker.handles(RECEIPTS, batch=Micro(records=256))
async def forget(deliveries: Sequence[Delivery[Receipt]], kept: KeptAnswers | None) -> Iterable[Outgoing]:
    """Forget first, then confirm. Raises Transient while the store is away: until then nothing is confirmed."""
    if kept is not None:
        for workspace, changed in changes(delivery.body for delivery in deliveries).items():
            await kept.forget(workspace, changed)
    return [
        Outgoing(RECEIPTS, confirmation(delivery.body), cause=delivery)
        for delivery in deliveries
        if confirms(delivery.body)
    ]
