"""Hears of the questions that nobody waits for any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from infra.kafka.follow import Follower
from infra.objects.store import ObjectStore
from infra.queueing.cancels import Cancels
from infra.settings import KafkaSettings
from topics.catalogue import CHAT_CANCELS

WITHIN_S = 10.0
"""How long the first question waits until earlier cancels are known."""


@asynccontextmanager
async def hearing(kafka: KafkaSettings, objects: ObjectStore, remember_s: float) -> AsyncIterator[Cancels]:
    """Yield the cancels of the last `remember_s` seconds, joined by each that comes.

    What was cancelled while no worker ran is heard too, before the first question is taken up: it is delivered again,
    and would be worked on for nobody. A broker that is away delivers no questions either, and is waited for no longer
    than `WITHIN_S`.
    """
    cancels = Cancels(remember_s)
    follower = await Follower.open(
        kafka.bootstrap, CHAT_CANCELS, objects, lambda delivery: cancels.hear(delivery.body), back_s=remember_s
    )
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                await follower.wait_ready()
        yield cancels
    finally:
        await follower.close()
