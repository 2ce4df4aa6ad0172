"""Makes aiokafka's connections survive a reset under uvloop.

`AIOKafkaConnection.send` takes an OSError of the write for a broken connection. uvloop answers a write to a transport
that was reset a moment ago with RuntimeError, which aiokafka's background tasks do not expect: the fetcher or the
sender ends for good, while its owner goes on polling nothing or waiting for ever (aiokafka 0.14.0, uvloop 0.22).
"""

from functools import wraps
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def survive_resets() -> None:
    """Let every connection of this process report such a write as a broken connection. Safe to call again."""
    send = AIOKafkaConnection.send
    if hasattr(send, "__wrapped__"):
        return

    @wraps(send)
    def surviving(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return send(self, *args, **kwargs)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"connection at {self.host}:{self.port} broken") from error

    AIOKafkaConnection.send = surviving


def check_fetching(consumer: AIOKafkaConsumer) -> None:
    """Raise RuntimeError if the task behind `consumer` has died: polls go on, find nothing and look healthy.

    No public call tells (aiokafka 0.14.0).
    """
    if consumer._fetcher is not None and consumer._fetcher._fetch_task.done():
        raise RuntimeError("the consumer fetches no more")
