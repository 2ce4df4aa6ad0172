"""Encodes in slices, each in a fair turn: a large document, or a flood of small ones, delays nobody by more than that.

What Python computes beside it (sentences, lexical vectors) takes turns too, one at a time: the interpreter runs one
thread at once anyway, and with a dozen of them the event loop, on which everybody's requests are, is one of thirteen.

A slice is short (0.25 s on two cores), and texts are sorted by length before they are cut into slices, so that each is
as well filled as the whole would be: with 12,000 characters at once a window takes 1 to 3 % longer than in one call.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import TypeVar

import numpy as np

from infra.models.encoder import Encoder, FloatArray
from infra.queueing.slots import Meters, Slots
from infra.telemetry.metrics import Metric

SLICE_CHARACTERS = 12_000
COMPUTED_AT_ONCE = 1
ENCODING, COMPUTING = (
    Meters(Metric.TURN_WAITED_SECONDS, Metric.TURN_QUEUE_DEPTH, Metric.TURN_ESTIMATED_WAIT_SECONDS, (work,))
    for work in ("encode", "compute")
)
Result = TypeVar("Result")


class Overtaken(Exception):  # noqa: N818 - an event, as the handler reads it
    """Nothing of what was being encoded is wanted any more."""


class Turns:
    """The encoder, in fair turns between workspaces; the batches of one workspace take theirs in order of arrival."""

    def __init__(self, encoder: Encoder, at_once: int = 2, weights: Mapping[str, float] | None = None) -> None:
        self.encoder = encoder
        self._slots = Slots(at_once, ENCODING, weights)
        self._computing = Slots(COMPUTED_AT_ONCE, COMPUTING, weights)

    async def compute(self, workspace: str, function: Callable[[], Result]) -> Result:
        """Return what `function` gives, called in a thread when it is the workspace's turn."""
        async with self._computing.slot(workspace, monotonic()):
            return await asyncio.to_thread(function)

    async def encode(
        self, workspace: str, texts: Sequence[str], wanted: Callable[[], bool] = lambda: True
    ) -> FloatArray:
        """Return unit rows in the order of `texts`. Raises Overtaken when they are not `wanted`, and what encoding
        raises.
        """
        vectors = np.zeros((len(texts), self.encoder.dimension), dtype=np.float32)
        for positions in slices(texts):
            async with self._slots.slot(workspace, monotonic()):
                if not wanted():
                    raise Overtaken
                vectors[positions] = await self.encoder.encode_documents([texts[at] for at in positions])
        return vectors


def slices(texts: Sequence[str], characters: int = SLICE_CHARACTERS) -> Iterator[list[int]]:
    """Yield positions of `texts`, shortest first, so that each part has at most `characters` or is one text."""
    part: list[int] = []
    held = 0
    for at in sorted(range(len(texts)), key=lambda position: len(texts[position])):
        if part and held + len(texts[at]) > characters:
            yield part
            part, held = [], 0
        part.append(at)
        held += len(texts[at])
    if part:
        yield part
